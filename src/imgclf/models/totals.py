"""Loss and accuracy of an epoch, summed on the device without waiting for it."""

import torch
from torch import Tensor
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
        self.add_state("correct", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add one batch.

        Args:
            loss: mean loss of the batch, a scalar.
            logits: float (n, num_classes).
            labels: int64 (n,).
        """
        self.loss_sum += loss.float() * len(labels)
        self.correct += (logits.argmax(dim=1) == labels).sum()
        self.count += len(labels)

    def compute(self) -> dict[str, Tensor]:
        """``{"loss": mean loss, "acc": share of images whose largest logit is their label}``, float32 scalars."""
        return {"loss": self.loss_sum / self.count, "acc": self.correct / self.count}

    def snapshot(self) -> dict[str, Tensor]:
        """The sums over all processes, for a checkpoint in the middle of an epoch."""
        with self.sync_context(should_sync=self._to_sync and torch.distributed.is_initialized()):
            return {name: getattr(self, name).detach().clone().cpu() for name in self._defaults}

    def restore(self, sums: dict[str, Tensor]) -> None:
        """Continue from a ``snapshot``; call it in one process only, since it holds the sums of all."""
        for name in self._defaults:
            setattr(self, name, sums[name].to(self.device))
        # Otherwise torchmetrics takes a restored metric for one that has seen nothing, and warns.
        self._update_count = 1
        self._computed = None
