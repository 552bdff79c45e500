"""How many processes a configuration asks for."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from imgclf import ranks, scheduler
from imgclf.errors import InputError
from imgclf.log import log_to, quieten
from imgclf.ranks import is_first as is_first
from imgclf.ranks import process_number as process_number
from imgclf.run.trainer import require_sensible

# What a process runs: the configuration, and an argument of its own.
Rank = Callable[[DictConfig, str], int]


def in_processes(config: DictConfig, rank: Rank, argument: str) -> int:
    """Run ``rank(config, argument)`` here, or in as many processes as the trainer's configuration asks for.

    Returns:
        The exit code.
    """
    require_sensible(config.trainer)
    count = process_count(config.trainer)
    if ranks.started_from_outside():
        scheduler.require_tasks(count * config.trainer.num_nodes)
        return rank(config, argument)
    if count == 1:
        return rank(config, argument)
    with tempfile.TemporaryDirectory(prefix="imgclf-") as folder:
        file = Path(folder) / "config.yaml"
        OmegaConf.save(config, file, resolve=True)
        return ranks.launch(count, f"{rank.__module__}:{rank.__name__}", str(file), argument)


def process_count(trainer: DictConfig) -> int:
    """How many processes on this machine ``trainer.devices`` and ``trainer.strategy`` ask for.

    Raises:
        InputError: several machines are asked for, but nothing has started this process on them; or devices that do
            not make sense, that are not there, or that the strategy cannot use.
    """
    if trainer.num_nodes > 1 and not ranks.started_from_outside():
        raise InputError(
            f"trainer.num_nodes={trainer.num_nodes}: start the command on every machine with torchrun or SLURM"
        )
    count = _device_count(trainer)
    if count > 1 and isinstance(trainer.strategy, str) and not trainer.strategy.startswith(_WITH_PROCESSES):
        raise InputError(
            f"trainer.devices={trainer.devices} with trainer.strategy={trainer.strategy}: several devices need "
            "trainer=ddp, or trainer=ddp_cpu on the processor"
        )
    if not ranks.started_from_outside():  # a batch system may show each process its own GPU alone
        _require_gpus(trainer, count)
    return count if str(trainer.strategy).startswith(_WITH_PROCESSES) else 1


# Strategies with a process for each device.
_WITH_PROCESSES = ("ddp", "fsdp", "deepspeed")


def _device_count(trainer: DictConfig) -> int:
    devices = trainer.devices
    if OmegaConf.is_list(devices):
        return len(devices)
    if str(devices) in ("auto", "-1"):
        return 1 if trainer.accelerator == "cpu" else max(1, torch.cuda.device_count())
    if not str(devices).isdecimal() or int(devices) < 1:
        raise InputError(
            f"trainer.devices={devices}: expected how many, from 1; or a list of their numbers, [0,2]; or -1 for all"
        )
    return int(devices)


def _require_gpus(trainer: DictConfig, count: int) -> None:
    there = torch.cuda.device_count()
    if there and trainer.accelerator in ("auto", "gpu", "cuda") and count > there:
        raise InputError(f"trainer.devices={trainer.devices}: there are {there} GPU(s) here; choose at most {there}")


def speak(file: Path | None) -> None:
    """Let the first process log to the terminal and to ``file``; the others keep quiet but for warnings."""
    log_to(file if is_first() else None, terminal=is_first())
    quieten()
