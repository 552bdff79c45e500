"""The processes of a run: how many there are, starting them, which is the first, and the batch system above them.

Processes are fresh interpreters under torch's elastic launcher that read one resolved configuration. Lightning's own
launcher would run the command line again, which under Hydra composes anew in each, and in a sweep starts the sweep.
"""

import contextlib
import functools
import importlib
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
import uuid
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
    """How many processes on this machine a Trainer's configuration asks for: one for each of ``devices``.

    Raises:
        InputError: several machines are asked for, but nothing has started this process on them; or devices that make
            no sense or are not there.
    """
    if trainer.get("num_nodes", 1) > 1 and not started_from_outside():
        raise InputError(
            f"trainer.num_nodes={trainer.num_nodes}: start the command on every machine with torchrun or SLURM"
        )
    devices, is_gpu = trainer.get("devices", "auto"), trainer.get("accelerator", "auto") in ("auto", "gpu", "cuda")
    if OmegaConf.is_list(devices) or "," in str(devices):
        count = len(devices if OmegaConf.is_list(devices) else str(devices).strip(",").split(","))
    elif str(devices) in ("auto", "-1"):
        count = max(1, _gpus()) if is_gpu else 1
    elif str(devices).isdecimal() and int(devices) > 0:
        count = int(devices)
    else:
        raise InputError(
            f"trainer.devices={devices}: expected how many, from 1; or a list of their numbers, [0,2]; or -1 for all"
        )
    if count > 1 and not started_from_outside():  # a batch system may show each process its own GPU alone
        there = _gpus() if is_gpu else 0
        if there or (is_gpu and trainer.accelerator != "auto"):
            if there < count:
                raise InputError(f"trainer.devices={devices}: there are {there} GPU(s) here; choose at most {there}")
        elif count > 8 * cores():
            raise InputError(f"trainer.devices={devices}: there are {cores()} cores here; choose at most {8 * cores()}")
    return count


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def run(function: Callable[[DictConfig], None], config: DictConfig, *, fresh: bool = False) -> None:
    """Call ``function(config)`` here, or in as many processes as ``config.trainer`` asks for.

    Args:
        function: of a module of this package; what it gives back is lost, so it writes files or prints.
        config: handed to each, resolved.
        fresh: one process, too, is to be another one.

    Raises:
        InputError, Diverged, Interrupted: a process raised it.
        Failed: a process ended in another way; it has printed its traceback.
    """
    count = process_count(config.trainer)
    if started_from_outside():
        _require_tasks(count * config.trainer.num_nodes)
    elif count > 1 or fresh:
        _launch(function, config, count)
        return
    function(config)


def _launch(function: Callable[[DictConfig], None], config: DictConfig, count: int) -> None:
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    watched = (signal.SIGINT, signal.SIGTERM, *job_signals())
    with tempfile.TemporaryDirectory(prefix="imgclf-") as folder, _kept(watched):
        if "OMP_NUM_THREADS" not in os.environ:  # else each process would take all cores, and they would fight
            os.environ["OMP_NUM_THREADS"] = str(max(1, cores() // count))
        file = Path(folder, "config.yaml")
        OmegaConf.save(config, file, resolve=True)
        settings = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="127.0.0.1",  # else the host's full name is looked up, which hangs on some laptops
            max_restarts=0,
            monitor_interval=0.1,
            signals_to_handle=",".join(s.name for s in watched),
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        name = f"{function.__module__}:{function.__name__}"
        try:  # -P: a folder imgclf/ in the working directory is not the package
            elastic_launch(settings, sys.executable)("-P", "-m", __name__, name, str(file), str(os.getpid()))
        except SignalException as stop:
            raise Interrupted(stop.sigval) from None
        except ChildFailedError as failed:
            raise _reason(failed) from None


@contextlib.contextmanager
def _kept(signals: tuple[signal.Signals, ...]) -> Iterator[None]:
    """Put back what a launch changes: environment, and handlers of signals, which it takes for good."""
    handlers, environment = {s: signal.getsignal(s) for s in signals}, dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        if threading.current_thread() is threading.main_thread():
            for signum, handler in handlers.items():
                signal.signal(signum, handler)


def _reason(failed: Any) -> BaseException:
    """What a failed group of processes failed with: a mistake of the user before anything else, else the first."""
    failures = sorted(failed.failures.items(), key=lambda item: item[1].timestamp)
    for _, failure in failures:
        kind = failure.error_file_data.get("kind")
        if kind in ("InputError", "Diverged"):
            return (Diverged if kind == "Diverged" else InputError)(failure.message)
    for _, failure in failures:
        if failure.exitcode - 128 in (signal.SIGINT, signal.SIGTERM, *job_signals()):
            return Interrupted(failure.exitcode - 128)
    rank, first = failures[0]
    ended = f"was ended by {first.signal_name()}" if first.exitcode < 0 else f"ended with exit code {first.exitcode}"
    return Failed(f"process {rank} {ended}")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise :class:`Interrupted` wherever SIGINT, SIGTERM or a batch system's signal arrives meanwhile.

    A second signal right after the first, while what was interrupted is still leaving, is left out. Does nothing in a
    thread other than the main one, where Python takes no signals.
    """

    def interrupt(signum: int, frame: FrameType | None) -> None:
        global _last_raised
        if time.monotonic() - _last_raised > SECONDS_TO_STOP:
            _last_raised = time.monotonic()
            raise Interrupted(signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {s: signal.signal(s, interrupt) for s in (signal.SIGINT, signal.SIGTERM, *job_signals())}
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


def _require_tasks(processes: int) -> None:
    """Refuse a number of SLURM's tasks that would wait for more, or train the same run side by side."""
    started = slurm_tasks()
    if started > 1 and (started != processes or "SLURM_NTASKS_PER_NODE" not in os.environ):
        raise InputError(
            f"SLURM has started {started} tasks, the trainer is for {processes}: ask for --ntasks-per-node=N and give "
            "trainer=ddp trainer.devices=N trainer.num_nodes=<machines>, or ask SLURM for one task"
        )


def _main(name: str, file: str, parent: str) -> int:
    """One process of a run. Its error goes to the launching process, which tells it once for all."""
    leave_with(int(parent))
    module, function = name.split(":")
    try:
        with interruptible():
            getattr(importlib.import_module(module), function)(OmegaConf.load(file))
    except Interrupted as stop:
        return 128 + stop.signum
    except Exception as error:
        text = explanation(error)
        kind = "" if text is None else "Diverged" if isinstance(error, Diverged) else "InputError"
        about = {"message": text or repr(error), "timestamp": int(time.time()), "kind": kind}
        with contextlib.suppress(OSError, KeyError):  # a full disk, say, which may be the error itself
            Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(json.dumps(about), encoding="utf-8")
        if text is None or os.environ.get("IMGCLF_TRACEBACK") == "1":
            traceback.print_exception(error)
        return FAILED if text is None else USER_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
