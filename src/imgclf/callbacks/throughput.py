"""Images per second."""

import time
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer


class Throughput(Callback):
    """Count the training images of all processes and the seconds that training on them took.

    Validation, checkpoints and pictures between epochs do not count. Each epoch's rate is logged as
    ``images_per_second``; the counts survive resuming.
    """

    def __init__(self) -> None:
        self.images = 0
        self.seconds = 0.0
        self._epoch_images, self._epoch_seconds = 0, 0.0
        self._images = 0  # of the stretch of training in progress, which ends where validation begins
        self._start: float | None = None

    @property
    def images_per_second(self) -> float:
        """Mean over the run so far; not a number before the first epoch has ended."""
        return self.images / self.seconds if self.seconds else float("nan")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_images, self._epoch_seconds = 0, 0.0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._start is None:
            self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch[1]) * trainer.world_size

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._start is None:
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)  # queued work is not done work
        seconds = time.perf_counter() - self._start
        self.images += self._images
        self.seconds += seconds
        self._epoch_images += self._images
        self._epoch_seconds += seconds
        self._images, self._start = 0, None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_validation_start(trainer, pl_module)
        if self._epoch_seconds > 0:
            rate = self._epoch_images / self._epoch_seconds
            pl_module.log("images_per_second", rate, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        running = 0.0 if self._start is None else time.perf_counter() - self._start
        return {"images": self.images + self._images, "seconds": self.seconds + running}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.images = state_dict["images"]
        self.seconds = state_dict["seconds"]
