"""Memory that training takes."""

from pathlib import Path

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from imgclf.callbacks.board import last_step, log_scalars, pages

_STATUS = Path("/proc/self/status")


class Memory(Callback):
    """At the end of each epoch, in MB: what the first process holds, and the most that its GPU held in the epoch.

    Pages of mapped files do not count; the process's memory is known on Linux only. Neither is written elsewhere.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pages(trainer):
            found = {"memory/process_MB": process_megabytes()}
            if pl_module.device.type == "cuda":
                found["memory/gpu_MB"] = torch.cuda.max_memory_allocated(pl_module.device) / 2**20
            log_scalars(trainer, {k: v for k, v in found.items() if v is not None}, last_step(trainer))


def process_megabytes() -> float | None:
    """Memory of this process that no file backs; None where the system does not tell."""
    if not _STATUS.exists():
        return None
    found = [line.split()[1] for line in _STATUS.read_text().splitlines() if line.startswith("RssAnon:")]
    return int(found[0]) / 1024 if found else None
