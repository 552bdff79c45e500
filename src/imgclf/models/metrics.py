"""Metrics over the classes that have images; torchmetrics may count a class without any as 0."""

from typing import Any, cast

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC
from torchmetrics.utilities.data import dim_zero_cat


class ClassAccuracy(MulticlassAccuracy):
    """Accuracy of each class, float32 (num_classes,); NaN for one without images."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="none")

    def compute(self) -> Tensor:
        counts = torch.as_tensor(self.tp) + torch.as_tensor(self.fn)
        return super().compute().masked_fill(counts == 0, float("nan"))


class BalancedAccuracy(ClassAccuracy):
    """The mean of that over the classes that have images, a scalar, as scikit-learn has it."""

    def compute(self) -> Tensor:
        return super().compute().nanmean()


class MacroAUROC(MulticlassAUROC):
    """Area under the ROC curve of each class against the rest, exact; the mean over the classes that have images."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes, average="none")

    def compute(self) -> Tensor:  # type: ignore[override]
        areas: Any = super().compute()
        return cast(Tensor, areas[torch.unique(dim_zero_cat(self.target))].mean())
