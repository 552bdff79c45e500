"""Predictions, one row an image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer


class KeepPredictions(Callback):
    """Copies each batch's probabilities into one stretch of memory as they come.

    Lightning's own list of results would do, but its many small tensors, made between large ones that are freed,
    keep the memory of those from being used again: gigabytes for 300,000 images.

    Args:
        num_classes: columns.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes, self._kept = num_classes, bytearray()

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """Of all images so far, float32 (n, num_classes)."""
        return np.frombuffer(self._kept, dtype=np.float32).reshape(-1, self.num_classes)

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self._kept += outputs.float().cpu().numpy().tobytes()
