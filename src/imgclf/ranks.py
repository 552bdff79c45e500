"""Several processes for one run: started, watched and stopped from one that does nothing else.

Lightning can start the other processes itself, by running the command line again. Under Hydra that composes the
configuration once more in each, and in a sweep it starts the whole sweep again. Here every process, the first too,
is a fresh interpreter that reads one resolved configuration; nothing of one job is left for the next.
"""

import contextlib
import hashlib
import importlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from imgclf import scheduler
from imgclf.errors import USER_ERROR, is_mendable, tell
from imgclf.interruption import STOPPING

GRACE_SECONDS = 10.0
# In the environment where OMP_NUM_THREADS is not each process's, as the user meant it, but all of a job's together.
SHARED_THREADS = "IMGCLF_SHARED_THREADS"


def started_from_outside() -> bool:
    """Whether torchrun or SLURM has started this process as one of several."""
    return "LOCAL_RANK" in os.environ or scheduler.tasks() > 1


def process_number() -> int:
    """Which of a run's processes this is, from 0."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")))


def is_first() -> bool:
    """Whether this process speaks for the run."""
    return process_number() == 0


def launch(count: int, function: str, config_file: str, argument: str) -> int:
    """Run ``function(config, argument)`` in ``count`` fresh processes that form one group, and wait for all.

    SIGINT, SIGTERM and the batch system's signals are passed on to each, once. When one process fails, the others,
    which would wait for it forever, are ended.

    Args:
        count: number of processes on this machine.
        function: ``module:name`` within this package.
        config_file: resolved configuration, YAML, in a folder of its own.
        argument: handed on.

    Returns:
        128 + the number of the signal that a process stopped on, whatever the others, which then lack their partner,
        end with; otherwise the exit code of the first that failed (128 + signal number where a signal ended it), or 0.
    """
    environment = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(count),
        "NODE_RANK": "0",
    }
    if "OMP_NUM_THREADS" not in os.environ or SHARED_THREADS in os.environ:
        # Each process would otherwise take all cores, and they would fight for them.
        threads = int(os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0))))
        environment["OMP_NUM_THREADS"] = str(max(1, threads // count))
    processes: list[subprocess.Popen[bytes]] = []
    with _forwarding(processes) as came:
        for rank in range(count):
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "imgclf.ranks", function, config_file, argument],
                    env=environment | {"LOCAL_RANK": str(rank), "RANK": str(rank)},
                    stdin=subprocess.PIPE,  # its end tells the process that this one is gone
                    start_new_session=True,  # a Ctrl-C reaches this process alone, which passes it on
                )
            )
        if came:  # while they were being started, when not all of them could be told
            _tell(processes, came[0])
        return _wait(processes)


def _wait(processes: list[subprocess.Popen[bytes]]) -> int:
    failed = 0
    while running := [p for p in processes if p.poll() is None]:
        failed = failed or next((_exit_code(p) for p in processes if p.returncode), 0)
        if failed:
            _end(running)
            break
        time.sleep(0.05)
    codes = [_exit_code(p) for p in processes if p.returncode]
    stopped = [code for code in codes if code - 128 in (*STOPPING, *scheduler.signals())]
    return next((code for code in (*stopped, failed, *codes) if code), 0)


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Give processes whose partner is gone a moment to end by themselves, then end them."""
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline and any(p.poll() is None for p in processes):
        time.sleep(0.05)
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def _exit_code(process: subprocess.Popen[bytes]) -> int:
    code = process.returncode
    return 128 - code if code < 0 else code


def _tell(processes: list[subprocess.Popen[bytes]], signum: int) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signum)


@contextlib.contextmanager
def _forwarding(processes: list[subprocess.Popen[bytes]]) -> Iterator[list[int]]:
    """Meanwhile pass signals on; gives the numbers of those that have come."""
    came: list[int] = []

    def forward(signum: int, frame: FrameType | None) -> None:
        came.append(signum)
        _tell(processes, signum)

    if threading.current_thread() is not threading.main_thread():
        yield came  # Python takes signals in the main thread only
        return
    previous = {s: signal.signal(s, forward) for s in (signal.SIGINT, signal.SIGTERM, *scheduler.signals())}
    try:
        yield came
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _end_with_parent() -> None:
    """End this process at once when the one that started it is gone, which closes its standard input."""
    # Not through sys.stdin, whose lock the interpreter wants back when it ends.
    while os.read(0, 1):
        pass
    os._exit(1)


def _main() -> int:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    function, config_file, argument = sys.argv[1:]

    from omegaconf import OmegaConf

    module, name = function.split(":")
    try:
        return int(getattr(importlib.import_module(module), name)(OmegaConf.load(config_file), argument))
    except Exception as error:
        if is_mendable(error) and not _is_first_to_say(str(error), Path(config_file).parent):
            return USER_ERROR
        return tell(error)


def _is_first_to_say(message: str, folder: Path) -> bool:
    """Whether no other process of the run has come to the same words; ``folder`` is one that all of them know."""
    note = folder / f"said-{hashlib.sha256(message.encode()).hexdigest()}"
    try:
        note.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # gone with the process that started this one, or full
        pass
    return True


if __name__ == "__main__":
    code = _main()
    # Not sys.exit: threads of the process group may still run, and destroying them while the interpreter ends aborts
    # a process that has done all its work.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
