"""What of a machine decides the last digits of a run's numbers."""

import os
import platform
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Trainer


def machine(trainer: Trainer) -> dict[str, Any]:
    """For run.json, beside :func:`imgclf.provenance.provenance`.

    ``threads`` matters as much as the processor: sums over a batch are split over threads and rounded in another
    order with another number of them; how long they ``spin`` as they wait decides nothing but the speed.
    ``instructions`` are those that torch's own kernels choose.
    """
    about: dict[str, Any] = {
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "spin": os.environ.get("GOMP_SPINCOUNT", os.environ.get("OMP_WAIT_POLICY", "default")),
        "processes": trainer.world_size,
        "device": trainer.strategy.root_device.type,
        "gpu": None,
    }
    if trainer.strategy.root_device.type == "cuda":
        about["gpu"] = torch.cuda.get_device_name(trainer.strategy.root_device)
        about["cuda"] = torch.version.cuda
        about["cudnn"] = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return about


def processor() -> str:
    """The name of the processor, as far as the system tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
