"""The images that the network is most confidently wrong about."""

import torch
from pytorch_lightning import Trainer
from torch import Tensor

from imgclf.callbacks.board import as_seen, checked_every, class_names, log_picture, pages
from imgclf.callbacks.validation_picture import ValidationPicture
from imgclf.errors import InputError
from imgclf.pictures.grid import captioned
from imgclf.pictures.lettering import INK, VERMILLION


class Mistakes(ValidationPicture):
    """The wrongly classified validation images of the highest probability, with predicted and true class.

    Args:
        images: at most so many.
        columns: of them side by side.
        every_n_epochs: how often they are drawn; the last validation's always are.

    Raises:
        InputError: a number is below 1.
    """

    def __init__(self, images: int, columns: int, every_n_epochs: int) -> None:
        super().__init__(checked_every("mistakes", every_n_epochs))
        for name, value in (("images", images), ("columns", columns)):
            if value < 1:
                raise InputError(f"callbacks.mistakes.{name} must be at least 1, got {value}")
        self.images = images
        self.columns = columns
        self.num_classes = 0
        # The worst so far: scores (m,), -1 where there is none; classes (m, 2), predicted and true; images
        # (m, c, h, w).
        self.worst: tuple[Tensor, Tensor, Tensor] | None = None
        self.totals: Tensor | None = None  # wrong, all

    def clear(self) -> None:
        self.worst = self.totals = None

    def collect(self, logits: Tensor, images: Tensor, labels: Tensor) -> None:
        confidence, predicted = logits.float().softmax(dim=1).max(dim=1)
        is_wrong = predicted != labels
        # A network that has diverged is confident of nothing.
        scores = torch.where(is_wrong, confidence.nan_to_num(0.0), -1.0)
        classes = torch.stack([predicted, labels], dim=1)
        totals = torch.stack([is_wrong.sum(), torch.full((), len(labels), device=labels.device)])
        top = scores.topk(min(self.images, len(scores)))
        found = (top.values, classes[top.indices], images[top.indices])
        if self.worst is None or self.totals is None:
            self.num_classes = logits.shape[1]
            missing = self.images - len(top.values)
            self.worst = _padded(found, missing)
            self.totals = totals
            return
        self.totals = self.totals + totals
        scores, classes, pictures = (torch.cat(pair) for pair in zip(self.worst, found, strict=True))
        kept = scores.topk(self.images)
        self.worst = (kept.values, classes[kept.indices], pictures[kept.indices])

    def draw(self, trainer: Trainer, step: int) -> None:
        assert self.worst is not None
        assert self.totals is not None
        scores, classes, images = self.worst
        totals = self.totals
        if trainer.world_size > 1:
            totals = trainer.strategy.reduce(totals, reduce_op="sum")
            scores, classes, images = (
                trainer.strategy.all_gather(part.contiguous()).flatten(0, 1) for part in (scores, classes, images)
            )
        if pages(trainer):
            order = scores.argsort(descending=True, stable=True)[: self.images]
            order = order[scores[order] >= 0]
            wrong, count = totals.tolist()
            names = class_names(trainer, self.num_classes)
            captions = [
                [(f"{100 * score:.0f} % {names[predicted]}", VERMILLION), (f"is {names[true]}", INK)]
                for score, (predicted, true) in zip(scores[order].tolist(), classes[order].tolist(), strict=True)
            ]
            title = f"{len(captions)} most confident of {wrong:,} mistakes among {count:,} images"
            picture = captioned(as_seen(trainer, images[order]), captions, self.columns, title)
            log_picture(trainer, "validation/mistakes", picture, step)


def _padded(found: tuple[Tensor, Tensor, Tensor], missing: int) -> tuple[Tensor, Tensor, Tensor]:
    """With empty places added, so that all processes hold as many."""
    scores, classes, images = found
    return (
        torch.cat([scores, scores.new_full((missing,), -1.0)]),
        torch.cat([classes, classes.new_zeros((missing, 2))]),
        torch.cat([images, images.new_zeros((missing, *images.shape[1:]))]),
    )
