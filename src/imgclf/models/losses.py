"""Losses of training; validation and test report the plain cross-entropy, so that runs can be compared."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from imgclf.ranges import FractionBelow1, NumberFrom0

Weights = Literal["balanced"] | Sequence[NumberFrom0] | None


class CrossEntropy(nn.Module):
    """Cross-entropy, of which every class has its weight: the weighted mean over a process's share of a batch.

    Args:
        class_weights: one a class; ``balanced`` weighs a class with n of N training images, of k classes, by N / (k n),
            so that each that has images counts as much as any other; None weighs all alike.
        label_smoothing: share of the target that is spread over all classes (Szegedy et al. 2016, section 7).
    """

    def __init__(self, class_weights: Weights = None, label_smoothing: FractionBelow1 = 0.0) -> None:
        super().__init__()
        self.class_weights, self.label_smoothing = class_weights, label_smoothing
        self.weight: Tensor | None = None

    def prepare(self, labels: Tensor, num_classes: int) -> None:
        """Settle the weights, once the labels int64 (n,) of the training images are known, on their device."""
        given = self.class_weights
        if given == "balanced":
            counts = torch.bincount(labels, minlength=num_classes)
            self.weight = torch.where(counts > 0, len(labels) / (num_classes * counts.clamp(min=1)), 0.0)
        elif given is not None:
            self.weight = torch.tensor(given, dtype=torch.float32, device=labels.device)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits float (n, k), labels int64 (n,) or, mixed, float (n, k), to their weighted mean."""
        if self.weight is None:
            return F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        weight, smoothing = self.weight.to(logits.dtype), self.label_smoothing
        total = F.cross_entropy(logits, labels, weight=weight, label_smoothing=smoothing, reduction="sum")
        counted = weight[labels] if labels.ndim == 1 else labels * weight  # torch's mean would be over n for shares
        return total * (counted.sum() > 0) / counted.sum().clamp(min=1e-12)  # 0 of images that do not count


class Focal(CrossEntropy):
    """Focal loss: cross-entropy where an image counts the less, the surer the network is of it (Lin et al. 2017).

    Args:
        gamma: how much less; 0 is cross-entropy, but for the mean where there are weights.
        class_weights: as there, but the mean is over images.
    """

    def __init__(self, gamma: NumberFrom0 = 2.0, class_weights: Weights = None) -> None:
        super().__init__(class_weights)
        self.gamma = gamma

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """As above: the mean over images of -w (1 - p)^gamma log p for their class."""
        shares = F.one_hot(labels, logits.shape[1]) if labels.ndim == 1 else labels
        log_p = logits.log_softmax(dim=1)
        weight = 1 if self.weight is None else self.weight
        return -(weight * shares * (1 - log_p.exp()).clamp(min=1e-12) ** self.gamma * log_p).sum(dim=1).mean()
