"""One job of a sweep, in whatever process a launcher runs it."""

import contextlib
import gc
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from imgclf import distributed
from imgclf.check import check
from imgclf.errors import Held, InputError, say, tell
from imgclf.resuming import changed_keys, decide
from imgclf.run_folder import RunFolder
from imgclf.train import train

# Of a process, which a run may change: torch.get_NAME, torch.set_NAME.
_SETTINGS = ("num_threads", "default_dtype", "float32_matmul_precision", "deterministic_debug_mode")


def run_job(config: DictConfig) -> float | None:
    """Train one job, and give ``sweep.objective``, with ``sweep.seeds`` the median over so many runs.

    Returns:
        None, which makes a trial a failed one, where a run failed or diverged; why stands in its folder.
    """
    parent, run = multiprocessing.parent_process(), _run
    if parent is not None and parent.pid is not None:  # a process of joblib's, which would not notice
        distributed.leave_with(parent.pid)
        for signum in (signal.SIGINT, signal.SIGTERM):  # of a run alone: joblib would kill all for one that dies idle
            signal.signal(signum, signal.SIG_IGN)
        run = distributed.interruptible()(_run)  # which looks for the .stop that a signal ignored before has left
    if config.sweep.seeds == 1:
        return run(config)
    values, first, folder = [], config.seed, config.folder
    for seed in range(first, first + config.sweep.seeds):
        config.seed, config.folder = seed, f"{folder}/seed@{seed}"
        values.append(run(config.copy()))  # which the run fills in
    return None if None in values else statistics.median(values)  # type: ignore[type-var]


def _run(config: DictConfig) -> float | None:
    folder, stop, name = RunFolder(config.folder), Path(HydraConfig.get().sweep.dir, ".stop"), config.sweep.objective
    if stop.exists():
        return None
    try:
        with contextlib.chdir(HydraConfig.get().runtime.cwd):  # relative paths mean what they meant to whoever began
            metrics = _metrics(folder, config)
    except Held:  # a trial proposed twice, say, whose other was faster
        return _run(config)
    except Exception as error:
        tell(error)
        metrics = folder.read_metrics() or {}
        if not metrics:
            if not folder.error_file.exists():
                folder.write_error(error)
            with contextlib.suppress(InputError):  # of a run.json that is damaged, as the sweep tells at its end
                folder.write_run(outcome="failed", error=f"{type(error).__name__}: {error}")
            if config.sweep.on_error == "stop":
                stop.touch()
            return None
    has_diverged = folder.told().get("outcome") == "diverged"
    if name not in metrics and not has_diverged and HydraConfig.get().sweeper.get("direction") is not None:
        # Which ends the search: the others would all train for nothing.
        sys.exit(tell(InputError(f"sweep.objective={name} is not among the metrics: {', '.join(sorted(metrics))}")))
    value = None if has_diverged else metrics.get(name)
    return float(value) if isinstance(value, int | float) else None


def _metrics(folder: RunFolder, config: DictConfig) -> dict[str, Any]:
    """A run's final metrics; it is started or gone on with where they are not there yet."""
    with folder.lock(-1) if distributed.is_first() else contextlib.nullcontext():  # another sweep may be at this job
        try:
            metrics = folder.read_metrics()
            if metrics is not None or folder.last.exists():
                refuse_changes(folder, config)
        except InputError as error:  # of all trials of the search, which are not to be told its old values
            sys.exit(tell(error))
    if metrics is not None:
        return metrics
    say(f"\njob {HydraConfig.get().job.num + 1}: {folder.path.name}", is_kept=True)
    check(config, "train")  # of a search nobody has seen it before
    OmegaConf.set_struct(config, False)
    if folder.last.exists():
        config.resume = str(folder.path)
    else:
        for file in (folder.table_file, folder.best):  # of a start that was killed before there was a last.ckpt
            file.unlink(missing_ok=True)
    with isolated(), _own_gpus(config.trainer) as on_gpu:
        return train(config, fresh=on_gpu) or {}


def refuse_changes(folder: RunFolder, config: DictConfig) -> None:
    """A job that has begun must not be mistaken for another because a file of conf/ was changed."""
    decide(config)
    if changes := changed_keys(folder, config):
        told = f"{folder.path} was begun with another configuration: {'; '.join(changes[:5])}"
        raise InputError(f"{told}. Give the old values, sweep new ones (KEY=choice(VALUE)), or choose another folder")


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Put back afterwards what a run changes in its process; random state it sets itself."""
    environment, cudnn = dict(os.environ), torch.backends.cudnn
    with contextlib.ExitStack() as at_end, warnings.catch_warnings(), contextlib.chdir(Path.cwd()):
        at_end.callback(gc.collect)  # last; a Trainer and its parts refer to each other
        at_end.callback(torch.set_grad_enabled, torch.is_grad_enabled())
        at_end.callback(torch.set_anomaly_enabled, torch.is_anomaly_enabled())
        for name in _SETTINGS:
            at_end.callback(getattr(torch, f"set_{name}"), getattr(torch, f"get_{name}")())
        for name in ("benchmark", "deterministic", "allow_tf32"):
            at_end.callback(setattr, cudnn, name, getattr(cudnn, name))
        at_end.callback(os.environ.update, environment)
        at_end.callback(os.environ.clear)
        yield


@contextlib.contextmanager
def _own_gpus(trainer: DictConfig) -> Iterator[bool]:
    """Have the GPUs that a job trains on to it alone, while others on this machine take others; whether there are any.

    A list of numbers in ``trainer.devices`` is the user's own choice.
    """
    there = torch.cuda.device_count() if trainer.get("accelerator") in ("auto", "gpu", "cuda") else 0
    if not there or OmegaConf.is_list(trainer.devices) or distributed.started_from_outside():
        yield there > 0
        return
    # submitit_local numbers them anew, whichever the command was given.
    given = "IMGCLF_GPUS" if os.environ.get("SUBMITIT_EXECUTOR") == "local" else "CUDA_VISIBLE_DEVICES"
    visible = os.environ.get(given) or ",".join(map(str, range(there)))
    wanted = distributed.process_count(trainer)
    # Where SLURM hands GPUs out, it may call the first of each of its jobs 0.
    of_job = f"{os.environ.get('SLURM_JOB_ID', '')}-".lstrip("-") if "CUDA_VISIBLE_DEVICES" in os.environ else ""
    while True:
        with contextlib.ExitStack() as locks:
            mine: list[str] = []
            for name in visible.split(","):
                with contextlib.suppress(Timeout):
                    place = Path(tempfile.gettempdir(), f"imgclf-{os.getuid()}-{of_job}gpu-{name}.lock")
                    locks.enter_context(FileLock(place, timeout=0))
                    mine.append(name)
                if len(mine) == wanted:
                    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(mine)  # of the processes about to be started
                    yield True
                    return
        time.sleep(1)
