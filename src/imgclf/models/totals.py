"""Loss and accuracy of an epoch, summed on the device without waiting for it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric


class Totals(Metric):
    """Mean loss and accuracy over all images seen since the last ``reset``, over all processes.

    Three running sums stay on the device; nothing is read back before ``compute``. Sums rather than means of
    batches, so that a smaller last batch, or processes with unequal shares, weigh what they should.
    """

    full_state_update = False
    loss_sum: Tensor
    correct: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("loss_sum", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("correct", torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def _apply(self, fn: Any, exclude_state: Sequence[str] = "") -> nn.Module:
        # A sum in 16 bits soon takes in nothing more; torchmetrics guards against `.half()`, not against `.to(dtype)`.
        super()._apply(fn, exclude_state)
        if self.loss_sum.dtype.itemsize == 2:
            self.loss_sum, self.correct = self.loss_sum.float(), self.correct.float()
            self._defaults |= {name: torch.tensor(0.0) for name in ("loss_sum", "correct")}
        return self

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add one batch.

        Args:
            loss: mean loss of the batch, a scalar.
            logits: float (n, num_classes).
            labels: int64 (n,); or float (n, num_classes), of mixed images the share of each class, of which the image
                counts as right by that of the class predicted.
        """
        # In place and by method: assigning to an attribute of a module costs more than the addition.
        self.loss_sum.add_(loss, alpha=len(labels))
        predicted = logits.argmax(dim=1)
        if labels.ndim == 1:
            self.correct.add_((predicted == labels).sum())
        else:
            self.correct.add_(labels.gather(1, predicted[:, None]).sum())
        self.count.add_(len(labels))

    def compute(self) -> dict[str, Tensor]:
        """``{"loss": mean loss, "acc": share of images whose largest logit is their label}``, float32 scalars."""
        return {"loss": self.loss_sum / self.count, "acc": self.correct / self.count}

    def snapshot(self) -> dict[str, Tensor]:
        """The sums of each process, (processes,) each, for a checkpoint in the middle of an epoch; all must call it."""
        # Not on the device: Apple's has no 64 bits.
        mine = torch.stack([value.cpu().double() for value in (self.loss_sum, self.correct, self.count)])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            mine = mine.to(self.loss_sum.device)
            parts = [torch.empty_like(mine) for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather(parts, mine)
        else:
            parts = [mine]
        loss_sum, correct, count = torch.stack(parts, dim=1).cpu()
        return {"loss_sum": loss_sum, "correct": correct, "count": count}

    def restore(self, sums: dict[str, Tensor], rank: int, world_size: int) -> None:
        """Continue from a ``snapshot``.

        Args:
            sums: of each process of the run that was stopped.
            rank: this process, from 0. It takes its own sums, or, where the number of processes has changed, the
                first takes those of all.
            world_size: number of processes now.
        """
        for name, parts in sums.items():
            of_all = parts.sum() if rank == 0 else torch.zeros(())
            mine = parts[rank] if len(parts) == world_size else of_all
            setattr(self, name, mine.to(getattr(self, name)))
        # Otherwise torchmetrics takes a restored metric for one that has seen nothing, and warns.
        self._update_count = 1
        self._computed = None
