"""The processes of a run: how many there are, which is the first, starting and stopping them.

Processes are fresh interpreters under torch's elastic launcher that read one resolved configuration. Lightning's own
launcher would run the command line again, which under Hydra composes anew in each, and in a sweep starts the sweep.
"""

import contextlib
import functools
import json
import logging
import os
import pkgutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from imgclf.errors import FAILED, USER_ERROR, Diverged, Failed, InputError, Interrupted, explanation
from imgclf.slurm import job_signals, slurm_tasks

COMMAND = "IMGCLF_COMMAND"  # in the environment of all processes of a command: that command as typed
LOOK_EVERY = 5  # optimizer steps between two questions that processes ask each other: each makes all of them wait
SECONDS_TO_STOP = 2.0  # within which further signals count as the same one: terminal and launcher may both send it
_last_raised = 0.0


def process_number() -> int:
    """Which of a run's processes this is, from 0."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0") if slurm_tasks() > 1 else "0"))


def is_first() -> bool:
    """Whether this process speaks for the run."""
    return process_number() == 0


def started_from_outside() -> bool:
    """Whether torchrun or SLURM, or :func:`run`, has started this process as one of several."""
    return "LOCAL_RANK" in os.environ or slurm_tasks() > 1


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_count(trainer: DictConfig) -> int:
    """How many processes on this machine a Trainer's configuration asks for: one for each of ``devices``."""
    import torch

    if trainer.get("num_nodes", 1) > 1 and not started_from_outside():
        raise InputError(f"trainer.num_nodes={trainer.num_nodes}: start it on every machine, with torchrun or SLURM")
    devices = str(trainer.get("devices", "auto"))
    gpus = torch.cuda.device_count() if trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda") else 0
    if "," in devices or "[" in devices:
        count = len(devices.strip("[],").split(","))
    else:
        count = (gpus or 1) if devices in ("auto", "-1") else int(devices) if devices.isdecimal() else 0
    most = gpus or 8 * cores()
    if count < 1 or (count > most and not started_from_outside()):  # a batch system may show each its own GPU alone
        raise InputError(f"trainer.devices={devices}: {gpus} GPUs, {cores()} cores here; give at most {most}, or [0,2]")
    return count


def run(function: Callable[[DictConfig], None], config: DictConfig, *, fresh: bool = False) -> None:
    """Call ``function(config)`` here, or in as many processes as ``config.trainer`` asks for.

    Args:
        function: of a module; what it gives back is lost, so it writes files or prints.
        config: handed to each, resolved.
        fresh: one process, too, is to be another one.

    Raises:
        InputError, Diverged, Interrupted, Failed: so a process has ended; for the last it has printed its traceback.
    """
    count, tasks = process_count(config.trainer), slurm_tasks()
    if not started_from_outside() and (count > 1 or fresh):
        _launch(function, config, count)
        return
    expected = tasks if "LOCAL_RANK" in os.environ else count * config.trainer.get("num_nodes", 1)
    if tasks > 1 and (tasks != expected or "SLURM_NTASKS_PER_NODE" not in os.environ):
        remedy = "ask for --ntasks-per-node=N and give trainer=ddp trainer.devices=N trainer.num_nodes=MACHINES"
        raise InputError(f"SLURM has started {tasks} tasks, the trainer is for {expected}: {remedy}; or ask for one")
    function(config)


def _launch(function: Callable[[DictConfig], None], config: DictConfig, count: int) -> None:
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch.distributed.elastic")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what becomes of the processes is told by this program
    # torch kills what has not ended half a minute after a signal, in a long validation, say; before 2.12 in any case.
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(24 * 3600))
    with tempfile.TemporaryDirectory(prefix="imgclf-") as folder, interruptible():  # torch takes handlers for good
        file = Path(folder, "config.yaml")
        OmegaConf.save(config, file, resolve=True)
        settings = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=str(os.getpid()),
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="127.0.0.1",  # else the host's full name is looked up, which hangs on some laptops
            max_restarts=0,
            signals_to_handle=",".join(s.name for s in stop_signals()),
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        name = f"{function.__module__}:{function.__name__}"
        try:  # -P: a folder imgclf/ in the working directory is not the package
            elastic_launch(settings, sys.executable)("-P", "-m", __name__, name, str(file), str(os.getpid()))
        except SignalException as stop:
            raise Interrupted(stop.sigval) from None
        except ChildFailedError as failed:
            raise _reason(failed) from None


def _reason(failed: Any) -> BaseException:
    """What a group of processes failed with: a mistake of the user before anything else, else the first."""
    failures = sorted(failed.failures.values(), key=lambda failure: failure.timestamp)
    for failure in failures:
        kind = failure.error_file_data.get("kind")
        if kind is not None:
            return (Diverged if kind == "Diverged" else InputError)(failure.message)
    for failure in failures:
        if failure.exitcode - 128 in (signal.SIGINT, signal.SIGTERM, *job_signals()):
            return Interrupted(failure.exitcode - 128)
    rank, first = failed.get_first_failure()
    ended = f"was ended by {first.signal_name()}" if first.exitcode < 0 else f"ended with exit code {first.exitcode}"
    return Failed(f"process {rank} {ended}")


def stop_signals() -> tuple[signal.Signals, ...]:
    """Those on which this process stops: none in a thread other than the main one, where Python takes none."""
    is_main = threading.current_thread() is threading.main_thread()
    return (signal.SIGINT, signal.SIGTERM, *job_signals()) if is_main else ()


@contextlib.contextmanager
def interruptible(*, once_more: bool = False) -> Iterator[None]:
    """Raise :class:`Interrupted` wherever a signal to stop arrives meanwhile, unless it comes right after another, as
    ``once_more`` says that there has just been."""
    global _last_raised
    _last_raised = time.monotonic() if once_more else _last_raised

    def interrupt(signum: int, frame: FrameType | None) -> None:
        global _last_raised
        if time.monotonic() - _last_raised > SECONDS_TO_STOP:
            _last_raised = time.monotonic()
            raise Interrupted(signum)

    previous = {s: signal.signal(s, interrupt) for s in stop_signals()}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


@functools.cache  # once is enough
def leave_with(parent: int) -> None:
    """End this process soon after another one, which started it, is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(FAILED)

    threading.Thread(target=watch, daemon=True).start()


def _main(name: str, file: str, parent: str) -> int:
    """One process of a run. Its error goes to the launching process, which tells it once for all."""
    leave_with(int(parent))
    # Before torch is loaded: else each process would take all cores, and they would fight.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // int(os.environ["LOCAL_WORLD_SIZE"]))))
    try:
        with interruptible():
            pkgutil.resolve_name(name)(OmegaConf.load(file))
    except Interrupted as stop:
        return 128 + stop.signum
    except Exception as error:
        text = explanation(error)
        kind = None if text is None else type(error).__name__
        about = {"message": text or repr(error), "timestamp": int(time.time()), "kind": kind}
        with contextlib.suppress(OSError):  # a full disk, say, which may be the error itself
            Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(json.dumps(about), encoding="utf-8")
        if text is None or os.environ.get("IMGCLF_TRACEBACK") == "1":
            time.sleep(1)  # where it has only lost its partner, it is ended meanwhile
            traceback.print_exception(error)
        return FAILED if text is None else USER_ERROR
    return 0


if __name__ == "__main__":
    if ended := _main(*sys.argv[1:]):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ended)  # torch's threads, which an interrupt may leave, would abort the interpreter's own end
