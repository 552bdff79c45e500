"""One job of a sweep, in whatever process a launcher runs it."""

import contextlib
import gc
import multiprocessing
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from imgclf import distributed
from imgclf.check import check
from imgclf.errors import InputError, tell
from imgclf.resuming import changed_keys
from imgclf.run_folder import RunFolder
from imgclf.train import train


def run_job(config: DictConfig) -> float | None:
    """One job, in whatever process a launcher runs it; what comes of it stands in its folder.

    Returns:
        ``sweep.objective``, with ``sweep.seeds`` the median over so many runs; None, which makes a trial a failed one,
        where a run failed or diverged.

    Raises:
        Interrupted: a signal ends the sweep.
        SystemExit: a batch system starts the job again.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid is not None:  # a process of joblib's, which would not notice
        distributed.leave_with(parent.pid)
    if config.sweep.seeds == 1:
        return _run(config)
    values, seed, folder = [], config.seed, config.folder
    for place in range(config.sweep.seeds):
        config.seed, config.folder = seed + place, f"{folder}/seed@{seed + place}"
        values.append(_run(config))
    return None if None in values else statistics.median(values)  # type: ignore[type-var]


def _run(config: DictConfig) -> float | None:
    folder, stop = RunFolder(config.folder), Path(HydraConfig.get().sweep.dir, ".stop")
    if stop.exists():
        return None
    try:
        with folder.lock(-1):  # another sweep may be at the same job
            metrics = folder.read_metrics()
            if metrics is not None or folder.last.exists():
                refuse_changes(folder, config)
        if metrics is None:
            print(f"\njob {HydraConfig.get().job.num + 1}: {folder.path.name}", flush=True)
            check(config, "train")  # of a search nobody has seen it before
            OmegaConf.set_struct(config, False)
            if folder.last.exists():
                config.resume = str(folder.path)
            else:
                folder.table_file.unlink(missing_ok=True)
            with isolated(), _own_gpus(config.trainer) as on_gpu:
                os.chdir(HydraConfig.get().runtime.cwd)  # relative paths mean what they meant to whoever began
                metrics = train(config, fresh=on_gpu) or {}
    except Exception as error:
        tell(error)
        metrics = folder.read_metrics() or {}
        if not metrics:
            if not folder.error_file.exists():
                folder.write_error(error)
            folder.write_run(outcome="failed", error=f"{type(error).__name__}: {error}")
            if config.sweep.on_error == "stop":
                stop.touch()
            return None
    name = config.sweep.objective
    if folder.read_run().get("outcome") == "diverged" or not isinstance(metrics.get(name), int | float):
        if name not in metrics and HydraConfig.get().sweeper.get("direction") is not None:
            tell(InputError(f"sweep.objective={name} is not among the metrics: {', '.join(sorted(metrics))}"))
        return None
    return float(metrics[name])


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Put back afterwards what a run changes in its process; random state it sets itself."""
    environment, directory = dict(os.environ), Path.cwd()
    threads, kind, precision = torch.get_num_threads(), torch.get_default_dtype(), torch.get_float32_matmul_precision()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    gradients, anomaly = torch.is_grad_enabled(), torch.is_anomaly_enabled()
    flags = {name: getattr(torch.backends.cudnn, name) for name in ("benchmark", "deterministic", "allow_tf32")}
    try:
        with warnings.catch_warnings():
            yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(directory)
        torch.set_num_threads(threads)
        torch.set_default_dtype(kind)
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.set_grad_enabled(gradients)
        torch.set_anomaly_enabled(anomaly)
        for name, value in flags.items():
            setattr(torch.backends.cudnn, name, value)
        gc.collect()  # a Trainer and its parts refer to each other


@contextlib.contextmanager
def _own_gpus(trainer: DictConfig) -> Iterator[bool]:
    """Have the GPUs that a job trains on to it alone, while others on this machine take others; whether there are any.

    A list of numbers in ``trainer.devices`` is the user's own choice.
    """
    if trainer.get("accelerator") not in ("auto", "gpu", "cuda") or not torch.cuda.device_count():
        yield False
        return
    if OmegaConf.is_list(trainer.devices) or distributed.started_from_outside():
        yield True
        return
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    wanted = distributed.process_count(trainer)
    while True:
        with contextlib.ExitStack() as stack:
            mine: list[str] = []
            for name in visible.split(","):
                with contextlib.suppress(Timeout):
                    place = Path(tempfile.gettempdir(), f"imgclf-{os.getuid()}-gpu-{name}.lock")
                    stack.enter_context(FileLock(place, timeout=0).acquire())
                    mine.append(name)
                if len(mine) == wanted:
                    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(mine)  # of the processes about to be started
                    yield True
                    return
        time.sleep(1)


def refuse_changes(folder: RunFolder, config: DictConfig) -> None:
    """A job that has begun must not be mistaken for another because a file of conf/ was changed."""
    changes = changed_keys(folder, config)
    if changes:
        raise InputError(
            f"{folder.path} was begun with another configuration: {'; '.join(changes[:5])}. Give these keys their old "
            "values, start a new sweep, or delete that folder"
        )
