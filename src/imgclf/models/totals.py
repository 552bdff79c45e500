"""Loss and accuracy of an epoch, summed on the device without waiting for it."""

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


class Totals:
    """Mean loss and accuracy over all images seen since the last ``reset``, over all processes.

    The running sums ``loss_sum``, ``correct`` (float32, whatever the precision of the network) and ``count`` (int64)
    stay on the device; nothing is read back before ``compute``. Sums rather than means of batches, so that a smaller
    last batch, or processes with unequal shares, weigh what they should.
    """

    loss_sum: Tensor
    correct: Tensor
    count: Tensor

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._set(torch.zeros(3, dtype=torch.float64, device="cpu"))
        self.update_called = False

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add one batch: its mean loss, a scalar; logits, float (n, k); labels, int64 (n,), or of mixed images the
        share of each class, float (n, k), of which the image counts as right by that of the class predicted."""
        if self.count.device != loss.device:
            sums = (self.loss_sum, self.correct, self.count)
            self.loss_sum, self.correct, self.count = (value.to(loss.device) for value in sums)
        self.update_called = True
        self.loss_sum.add_(loss, alpha=len(labels))
        predicted = logits.argmax(dim=1)
        right = predicted == labels if labels.ndim == 1 else labels.gather(1, predicted[:, None])
        self.correct.add_(right.sum())
        self.count.add_(len(labels))

    def compute(self) -> dict[str, Tensor]:
        """``{"loss": mean loss, "acc": share of images whose largest logit is their label}``, float32, on the CPU."""
        loss_sum, correct, count = self._of_all().float().sum(dim=1)
        return {"loss": loss_sum / count, "acc": correct / count}

    def snapshot(self) -> dict[str, Tensor]:
        """The sums of each process, float64 (processes,), for a checkpoint inside an epoch; all must call it."""
        return dict(zip(("loss_sum", "correct", "count"), self._of_all(), strict=True))

    def restore(self, sums: dict[str, Tensor], rank: int, world_size: int) -> None:
        """Continue from a ``snapshot`` in this process: with its own sums, or, where the number of processes has
        changed, the first with those of all."""
        parts = torch.stack([sums[name] for name in ("loss_sum", "correct", "count")])
        self._set(parts[:, rank] if parts.shape[1] == world_size else parts.sum(dim=1) * (rank == 0))
        self.update_called = bool(parts[2].sum())  # the same in all processes

    def _set(self, sums: Tensor) -> None:
        self.loss_sum, self.correct, self.count = sums[0].float(), sums[1].float(), sums[2].long()

    def _of_all(self) -> Tensor:
        """The three sums of each process, float64 (3, processes), on the CPU: Apple's GPUs have no 64 bits."""
        mine = torch.stack([value.cpu().double() for value in (self.loss_sum, self.correct, self.count)])
        if not (dist.is_available() and dist.is_initialized()):
            return mine[:, None]
        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, mine)  # over any backend, also from a process that has seen no image
        return torch.stack(parts, dim=1)
