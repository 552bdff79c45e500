"""The images that the network is fed."""

from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from imgclf.callbacks.board import as_seen, checked_every, class_names, last_step, log_picture, pages
from imgclf.errors import InputError
from imgclf.pictures.grid import captioned
from imgclf.pictures.lettering import INK


class Inputs(Callback):
    """The first images of the first batch of training and of validation: augmented, resized, with their labels.

    Only the normalisation is undone. Pixels are those that the network sees, in their number too.

    Args:
        images: at most so many of each.
        columns: of them side by side.
        every_n_epochs: how often, from the first epoch on.

    Raises:
        InputError: a number is below 1.
    """

    def __init__(self, images: int, columns: int, every_n_epochs: int) -> None:
        self.every_n_epochs = checked_every("inputs", every_n_epochs)
        for name, value in (("images", images), ("columns", columns)):
            if value < 1:
                raise InputError(f"callbacks.inputs.{name} must be at least 1, got {value}")
        self.images = images
        self.columns = columns

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.__dict__.pop("on_train_batch_start", None)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0 and trainer.current_epoch % self.every_n_epochs == 0:
            self._draw(trainer, pl_module, "train", batch)
        # Lightning calls what is callable, at every step; until the next epoch there is nothing to do.
        self.on_train_batch_start = None  # type: ignore[method-assign,assignment]

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if batch_idx == 0 and trainer.current_epoch % self.every_n_epochs == 0:
            self._draw(trainer, pl_module, "validation", batch)

    def _draw(self, trainer: Trainer, pl_module: LightningModule, part: str, batch: Any) -> None:
        # The step that a training batch is for, or the last one that a validation came after.
        step = trainer.global_step if part == "train" else last_step(trainer)
        if pages(trainer):
            images, labels = batch[0][: self.images], batch[1][: self.images]
            labels = (labels.argmax(dim=1) if labels.ndim == 2 else labels).tolist()  # of mixed images the larger share
            names = class_names(trainer, getattr(pl_module, "num_classes", max(labels) + 1))
            channels, height, width = images.shape[1:]
            title = f"{part}: {channels} x {height} x {width} pixels"
            picture = captioned(as_seen(trainer, images), [[(names[c], INK)] for c in labels], self.columns, title)
            log_picture(trainer, f"inputs/{part}", picture, step)
