"""One job of a sweep, in whatever process a launcher runs it."""

import contextlib
import importlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from imgclf import scheduler
from imgclf.errors import InputError, tell
from imgclf.holding import is_held
from imgclf.interruption import STOPPING, Interrupted, interruptible
from imgclf.provenance import now
from imgclf.ranks import is_first
from imgclf.run_folder import RunFolder
from imgclf.sweep.points import key
from imgclf.sweep_folder import Job, SweepFolder

LOOK_SECONDS = 0.5  # how often a job in another process looks whether the sweep was stopped

# Set by the process that runs the sweep where it runs the jobs too.
in_this_process = False

# In a process that a launcher has started: which process did, and whether a job is being run.
_parent: int | None = None
_at_work = threading.Lock()


def run_job(config: DictConfig, task: str) -> dict[str, float] | None:
    """Start the job, or go on with it where it stopped; what comes of it stands in its folder.

    Args:
        config: the job's, composed.
        task: ``module:function`` that takes a configuration and returns an exit code.

    Returns:
        Its metrics; None where there are none, because it failed, was stopped, or was not begun. No error is raised.
    """
    if in_this_process:
        return _run_and_record(config, task)
    _settle_in()
    with _at_work:
        return _run_and_record(config, task)


def _run_and_record(config: DictConfig, task: str) -> dict[str, float] | None:
    sweep = SweepFolder(Path(HydraConfig.get().sweep.dir).absolute())
    folder = RunFolder(config.folder)
    job = sweep.by_folder(folder.path)
    if job is None or sweep.stopped():
        _leave_no_trace(folder)
        return None
    place = sweep.jobs.index(job) + 1
    if folder.metrics_file.exists():
        return folder.read_metrics()  # a batch system's job may be started again after it has done its work
    if is_first():
        print(f"\njob {place} of {len(sweep.jobs)}, {folder.path.name}: {sweep.shown(job)}", flush=True)
    try:
        code = _run(config, task, job, sweep)
    except Interrupted as stop:
        code = 128 + stop.signum
    except Exception as error:
        code = _tell(error, folder)
    sys.stdout.flush()
    if code - 128 in (*STOPPING, *scheduler.signals()):
        why = f"stopped by {signal.Signals(code - 128).name}"
        if is_first():
            folder.note_stop(why)
        if in_this_process:
            sweep.stop(why, code - 128)
        elif scheduler.is_submitit() and not sweep.stopped():
            sys.exit(code)  # no result: the sweep waits on, for SLURM may start the job again
        return None
    if code and not folder.metrics_file.exists():  # else it has come to an end, though its loss is no number
        if folder.read_run().get("outcome") != "failed":
            _record_failure(folder, f"a process of the job ended with exit code {code}")
        # As the sweep was told when it began or went on, not as this point was composed.
        if config.sweep.on_error == "stop":
            sweep.stop(f"sweep.on_error=stop: no job was begun after {folder.path.name} had failed")
        return None
    return folder.read_metrics()


def _run(config: DictConfig, task: str, job: Job, sweep: SweepFolder) -> int:
    if key(config) != job.key:
        raise InputError(
            "the job's configuration is not the one that was planned: it depends on the job's number, on the time or "
            "on the process, so a resumed sweep could not tell which job it is; write the values out instead of "
            "referring to them"
        )
    _choose_how(config, RunFolder(config.folder))
    with contextlib.ExitStack() as stack:
        stack.enter_context(interruptible())
        # Nothing heavy before this line: a signal while torch is loaded is taken, too.
        isolation = importlib.import_module("imgclf.sweep.isolation")
        stack.enter_context(isolation.isolated())
        if not in_this_process:
            stack.enter_context(_watching(sweep))
        folder = HydraConfig.get().runtime.cwd  # relative paths mean what they meant to whoever began the sweep
        if Path(folder).is_dir():
            os.chdir(folder)
        module, function = task.split(":")
        return int(getattr(importlib.import_module(module), function)(config) or 0)


def _choose_how(config: DictConfig, folder: RunFolder) -> None:
    """A job that has begun is resumed; all of its processes decide so by the same files."""
    if not folder.run_file.exists():
        return
    if not folder.config_file.exists():
        if is_first():  # killed in the moment between the two; to another process it is only about to be written
            folder.run_file.unlink()
        return
    OmegaConf.set_struct(config, False)
    config.resume = str(folder.path)


def _tell(error: Exception, folder: RunFolder) -> int:
    """Record what a job failed with, and print its first line; the traceback stands in the folder."""
    message = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    _record_failure(folder, message, error)
    return tell(error, f"{message.splitlines()[0]}\ntraceback: {folder.error_file}")


def _record_failure(folder: RunFolder, message: str, error: Exception | None = None) -> None:
    """Have the folder say that the job failed, unless another process is at work there."""
    if is_held(folder.path):
        return
    folder.write_run(outcome="failed", error=message, end=now())
    if error is not None and not folder.error_file.exists():
        folder.write_error(error)


def _leave_no_trace(folder: RunFolder) -> None:
    """Remove what Hydra has put into the folder of a job that is not begun."""
    if folder.run_file.exists():
        return
    for file in folder.config_file.parent.glob("*.yaml"):
        file.unlink()
    for path in (folder.config_file.parent, folder.path):
        with contextlib.suppress(OSError):  # not there, or not empty
            path.rmdir()


def _settle_in() -> None:
    """Prepare a process that a launcher has started, before its first job."""
    global _parent
    if _parent is not None:
        if os.getppid() != _parent:  # another job was waiting here
            os._exit(1)
        return
    _parent = os.getppid()
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if threading.current_thread() is threading.main_thread():
        # A terminal sends Ctrl-C to every process of a command; idle workers would end, and take the others along.
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _leave_with_parent() -> None:
    """End this process when the one that started it is gone, and the job, which then stops too, has saved."""
    while os.getppid() == _parent:
        time.sleep(LOOK_SECONDS)
    with _at_work:
        os._exit(1)


@contextlib.contextmanager
def _watching(sweep: SweepFolder) -> Iterator[None]:
    """Stop this job, in a process that a launcher started, when the sweep is stopped or its process is gone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK_SECONDS):
            stopped = sweep.stopped()
            if os.getppid() != _parent or (stopped and stopped["signal"]):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
