"""Functions that configurations may call: ``${name:argument,...}``."""

import os
from pathlib import Path

from omegaconf import OmegaConf


def register() -> None:
    """Make them known to OmegaConf; again is fine."""
    OmegaConf.register_new_resolver("gpus_of_a_job", gpus_of_a_job, replace=True)


def gpus_of_a_job(accelerator: str, devices: object) -> int:
    """How many GPUs a job of a sweep needs on this machine, told without loading torch, which takes long.

    A launcher that shares GPUs out hides those that a job has not asked for, and waits forever for more than there
    are.

    Args:
        accelerator: ``trainer.accelerator``.
        devices: ``trainer.devices``.
    """
    if accelerator == "cpu" or not _has_gpu():
        return 0
    if isinstance(devices, list | tuple):
        return len(devices)
    return int(devices) if isinstance(devices, int) and devices > 0 else 1


def _has_gpu() -> bool:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(Path("/proc/driver/nvidia/gpus").glob("*"))
