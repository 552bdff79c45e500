"""What all pictures of a validation share: collecting as its batches go by, drawing at its end."""

import logging
from abc import ABC, abstractmethod
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from imgclf.callbacks.board import is_due, last_step, shows

log = logging.getLogger(__name__)


class ValidationPicture(Callback, ABC):
    """Draws every n-th epoch's validation and, whenever training ends, its last one.

    The network's outputs are taken as the validation makes them. They are collected at each validation, since none
    knows whether it is the last; that is a few operations a batch, on the device, without waiting for it.

    Args:
        every_n_epochs: how often it is drawn.
    """

    def __init__(self, every_n_epochs: int) -> None:
        self.every_n_epochs = every_n_epochs
        self._has_warned = False
        self._step: int | None = None  # of a validation that has been collected and not drawn

    @abstractmethod
    def clear(self) -> None:
        """Forget the validation before."""

    @abstractmethod
    def collect(self, logits: Tensor, images: Tensor, labels: Tensor) -> None:
        """Take notice of a batch: float (n, k), float (n, c, h, w), int64 (n,), all on the device."""

    @abstractmethod
    def draw(self, trainer: Trainer, step: int) -> None:
        """Draw what was collected; every process must call it."""

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._step = None
        self.clear()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not shows(trainer):
            return
        if not isinstance(outputs, Tensor) or outputs.ndim != 2:
            if not self._has_warned:
                log.warning(
                    f"{type(self).__name__} draws nothing: it needs the logits (n, k) from validation_step, and "
                    f"{type(pl_module).__name__}'s returns {type(outputs).__name__}"
                )
            self._has_warned = True
            return
        images, labels = batch
        self.collect(outputs.detach(), images, labels)
        self._step = last_step(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_due(trainer, self.every_n_epochs):
            self._draw_once(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw_once(trainer)

    def _draw_once(self, trainer: Trainer) -> None:
        if self._step is not None:
            self.draw(trainer, self._step)
        self._step = None
