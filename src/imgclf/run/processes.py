"""How many processes a configuration asks for."""

import importlib
import tempfile
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from imgclf import ranks, scheduler
from imgclf.errors import InputError
from imgclf.log import log_to, quieten
from imgclf.ranks import is_first as is_first
from imgclf.ranks import process_number as process_number
from imgclf.run.sensible import require_sensible


def in_processes(config: DictConfig, function: str, argument: str) -> int:
    """Run ``function(config, argument)`` here, or in as many processes as the trainer's configuration asks for.

    Args:
        config: of the command.
        function: ``module:name``, what each process runs; imported only where it runs.
        argument: handed on.

    Returns:
        The exit code.
    """
    require_sensible(config.trainer)
    count = process_count(config.trainer)
    if ranks.started_from_outside():
        scheduler.require_tasks(count * config.trainer.num_nodes)
    elif count > 1:
        with tempfile.TemporaryDirectory(prefix="imgclf-") as folder:
            file = Path(folder) / "config.yaml"
            OmegaConf.save(config, file, resolve=True)
            return ranks.launch(count, function, str(file), argument)
    module, name = function.split(":")
    return int(getattr(importlib.import_module(module), name)(config, argument))


def runs_here(trainer: DictConfig) -> bool:
    """Whether this process does the work itself, rather than start others that do."""
    return ranks.started_from_outside() or process_count(trainer) == 1


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
        return 1 if trainer.accelerator == "cpu" else max(1, _gpus())
    if not str(devices).isdecimal() or int(devices) < 1:
        raise InputError(
            f"trainer.devices={devices}: expected how many, from 1; or a list of their numbers, [0,2]; or -1 for all"
        )
    return int(devices)


def _require_gpus(trainer: DictConfig, count: int) -> None:
    if trainer.accelerator not in ("auto", "gpu", "cuda"):
        return
    there = _gpus()
    if there and count > there:
        raise InputError(f"trainer.devices={trainer.devices}: there are {there} GPU(s) here; choose at most {there}")


def _gpus() -> int:
    import torch  # only where GPUs are asked for: a process that starts others needs it for nothing else

    return torch.cuda.device_count()


def speak(file: Path | None) -> None:
    """Let the first process log to the terminal and to ``file``; the others keep quiet but for warnings."""
    log_to(file if is_first() else None, terminal=is_first())
    quieten()
