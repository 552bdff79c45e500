"""Predictions, one row an image."""

from typing import Any

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer


class KeepPredictions(Callback):
    """Copies each batch's probabilities into one array as they come.

    Lightning's own list of results would do, but its many small tensors, made between large ones that are freed,
    keep the memory of those from being used again: gigabytes for 300,000 images.

    Args:
        num_classes: columns.
    """

    def __init__(self, num_classes: int) -> None:
        self.probabilities, self.done = np.empty((0, num_classes), dtype=np.float32), 0

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loader: Any = trainer.predict_dataloaders
        self.probabilities.resize((loader.image_count, self.probabilities.shape[1]), refcheck=False)

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.probabilities[self.done : self.done + len(outputs)] = outputs.float().cpu().numpy()
        self.done += len(outputs)
