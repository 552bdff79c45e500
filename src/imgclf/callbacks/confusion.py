"""Which class is taken for which, and how often each is recognised, as pictures of the validation."""

import torch
from pytorch_lightning import Trainer
from torch import Tensor

from imgclf.callbacks.board import checked_every, class_names, log_picture, pages
from imgclf.callbacks.validation_picture import ValidationPicture
from imgclf.pictures.confusion import accuracy_picture, confusion_picture


class Confusion(ValidationPicture):
    """Confusion matrix and accuracy of each class, each validation image of all processes counted once.

    Args:
        every_n_epochs: how often it is drawn; the last validation always is.

    Raises:
        InputError: ``every_n_epochs`` is below 1.
    """

    def __init__(self, every_n_epochs: int) -> None:
        super().__init__(checked_every("confusion", every_n_epochs))
        self.counts: Tensor | None = None

    def clear(self) -> None:
        self.counts = None

    def collect(self, logits: Tensor, images: Tensor, labels: Tensor) -> None:
        if self.counts is None:
            k = logits.shape[1]
            self.counts = torch.zeros((k, k), dtype=torch.int64, device=logits.device)
        # Not bincount, which makes the host wait for a GPU.
        one = torch.ones((), dtype=torch.int64, device=labels.device)
        self.counts.index_put_((labels, logits.argmax(dim=1)), one, accumulate=True)

    def draw(self, trainer: Trainer, step: int) -> None:
        assert self.counts is not None
        counts = self.counts
        if trainer.world_size > 1:
            counts = trainer.strategy.reduce(counts, reduce_op="sum")
        if pages(trainer):
            table = counts.cpu().numpy()
            names = class_names(trainer, len(table))
            log_picture(trainer, "validation/confusion", confusion_picture(table, names), step)
            log_picture(trainer, "validation/accuracy_by_class", accuracy_picture(table, names), step)
