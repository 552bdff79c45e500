"""Pictures for the loggers: what the network is fed, and what it takes for something else."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from imgclf.callbacks.drawing import INK, accuracy_picture, confusion_picture, contact_sheet
from imgclf.callbacks.loggers import last_step, log_picture, pages, shows
from imgclf.figures.curves import VERMILLION
from imgclf.ranges import AtLeast1

_COLUMNS = 4  # of images side by side


class Inputs(Callback):
    """The first images of the first batch of training and of validation: augmented, resized, with their labels.

    Only the normalisation is undone. Pixels are those that the network sees, in their number too.

    Args:
        images: at most so many of each.
        every_n_epochs: how often, from the first epoch on.
    """

    def __init__(self, images: AtLeast1, every_n_epochs: AtLeast1) -> None:
        self.images, self.every_n_epochs = images, every_n_epochs

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self._draw(trainer, "train", batch, trainer.global_step)

    def on_validation_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int, *_: Any) -> None:
        if batch_idx == 0:
            self._draw(trainer, "validation", batch, last_step(trainer), trainer.check_val_every_n_epoch or 1)

    def _draw(self, trainer: Trainer, part: str, batch: tuple[Tensor, Tensor], step: int, epochs: int = 1) -> None:
        if trainer.current_epoch % self.every_n_epochs < epochs and pages(trainer):  # or, seldom validated, the next
            images, labels = (tensor[: self.images] for tensor in batch)
            labels = labels.argmax(dim=1) if labels.ndim == 2 else labels  # of mixed images the larger share
            names = class_names(trainer)
            title = f"{part}: {' x '.join(map(str, images.shape[1:]))} pixels"
            captions = [[(names[label], INK)] for label in labels.tolist()]
            picture = contact_sheet(as_seen(trainer, images), captions, _COLUMNS, title)
            log_picture(trainer, f"inputs/{part}", picture, step)


class ValidationPicture(Callback, ABC):
    """Draws every n-th epoch's validation and, whenever training ends, its last one.

    The network's outputs are taken as each validation makes them, since none knows whether it is the last.
    """

    every_n_epochs: int
    _found: tuple[Tensor, ...] = ()  # of a validation that is not drawn yet
    _step = 0

    @abstractmethod
    def found(self, logits: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """What to keep of a batch, (m, ...) each: of float (n, k), float (n, c, h, w), int64 (n,), on the device."""

    def kept(self, found: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What to keep of that of several batches."""
        return found

    @abstractmethod
    def draw(self, trainer: Trainer, step: int, *found: Tensor) -> None:
        """In the first process, what all have kept; on the processor."""

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._found = ()

    def on_validation_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        if shows(trainer) and isinstance(outputs, Tensor) and outputs.ndim == 2:  # a network of one's own may give none
            found = self.found(outputs.detach(), *batch)
            if self._found:
                found = self.kept(tuple(map(torch.cat, zip(self._found, found, strict=True))))
            self._found, self._step = found, last_step(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Every n-th epoch or, between validations, the next.
        if (trainer.current_epoch + 1) % self.every_n_epochs < (trainer.check_val_every_n_epoch or 1):
            self.on_train_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._found:
            parts: list[Any] = [tuple(tensor.cpu() for tensor in self._found)] * trainer.world_size
            if trainer.world_size > 1:
                torch.distributed.all_gather_object(parts, parts[0])
            if pages(trainer):
                self.draw(trainer, self._step, *self.kept(tuple(map(torch.cat, zip(*parts, strict=True)))))
        self._found = ()


class Confusion(ValidationPicture):
    """Confusion matrix and accuracy of each class, each validation image of all processes counted once.

    Args:
        every_n_epochs: how often it is drawn; the last validation always is.
    """

    def __init__(self, every_n_epochs: AtLeast1) -> None:
        self.every_n_epochs = every_n_epochs

    def found(self, logits: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        return logits.argmax(dim=1), labels

    def draw(self, trainer: Trainer, step: int, *found: Tensor) -> None:
        (predicted, labels), names = found, class_names(trainer)
        k = len(names)  # counted by hand, as torchmetrics takes images x classes² where it must be deterministic
        counts = torch.bincount(labels * k + predicted, minlength=k * k).view(k, k).numpy()
        log_picture(trainer, "validation/confusion", confusion_picture(counts, names), step)
        log_picture(trainer, "validation/accuracy_by_class", accuracy_picture(counts, names), step)


class Mistakes(ValidationPicture):
    """The wrongly classified validation images of the highest probability, with predicted and true class.

    Args:
        images: at most so many.
        every_n_epochs: how often they are drawn; the last validation's always are.
    """

    def __init__(self, images: AtLeast1, every_n_epochs: AtLeast1) -> None:
        self.images, self.every_n_epochs = images, every_n_epochs

    def found(self, logits: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        confidence, predicted = logits.float().softmax(dim=1).max(dim=1)
        # A network that has diverged is confident of nothing; what is right comes last.
        scores = torch.where(predicted != labels, confidence.nan_to_num(0.0), -1.0)
        return self.kept((scores, torch.stack([predicted, labels], dim=1), images))

    def kept(self, found: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        order = found[0].argsort(descending=True, stable=True)[: self.images]
        return tuple(part[order] for part in found)

    def draw(self, trainer: Trainer, step: int, *found: Tensor) -> None:
        scores, classes, images = (part[found[0] >= 0] for part in found)
        names = class_names(trainer)
        captions = [
            [(f"{100 * score:.0f} % {names[predicted]}", VERMILLION), (f"is {names[true]}", INK)]
            for score, (predicted, true) in zip(scores.tolist(), classes.tolist(), strict=True)
        ]
        title = f"the {len(captions)} most confident mistakes" if captions else "no mistakes"
        picture = contact_sheet(as_seen(trainer, images), captions, _COLUMNS, title)
        log_picture(trainer, "validation/mistakes", picture, step)


def class_names(trainer: Trainer) -> Sequence[str]:
    """The names that the data have for their classes."""
    names: Sequence[str] = trainer.datamodule.class_names  # type: ignore[attr-defined]
    return names


def as_seen(trainer: Trainer, images: Tensor) -> NDArray[np.uint8]:
    """Float images (n, c, h, w) as the network is fed them -> uint8 (n, h, w, 3), without the data's normalisation.

    Of any other number of channels than three (red, green, blue) the mean is shown as grey.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]
    centre, spread = (torch.tensor(values).float().view(-1, 1, 1) for values in (data.mean, data.std))
    shown = images.detach().float().cpu() * spread + centre
    if shown.shape[1] != 3:
        shown = shown.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    shown = shown.nan_to_num(nan=0.0, posinf=1.0, neginf=0.0).clamp(0, 1)
    return (255 * shown).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
