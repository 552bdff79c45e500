"""A network whose predictions are written into its images, and a run of it with chosen callbacks."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from conftest import QUIET
from numpy.typing import NDArray
from run_files import Board
from torch import Tensor, nn

from imgclf.data.batches import ImageArray, as_tensors
from imgclf.data.module import ImageData
from imgclf.models.classifier import Classifier
from imgclf.schedules.callback import Constant
from imgclf.tensorboard import TensorBoardLogger
from imgclf.trainer import Trainer

Fit = Callable[..., Board]
# The logits of `told`, and its labels. The wrong ones, images 2, 5 and 6, by the lead: 5 is surest, then 2, then 6.
ROWS = [[9, 0, 0], [9, 0, 0], [0, 3, 0], [0, 9, 0], [0, 9, 0], [5, 0, 0], [0, 1, 0]]
LABELS = [0, 0, 0, 1, 1, 2, 2]


class Told(ImageData):
    """Grey images of 8 x 8 pixels: the first row tells the logits, the others the image's number.

    Args:
        logits: uint8 (n, k) for the validation images; images to train on are as many, all zeros.
        labels: their true classes.
        options: those of ImageData.
    """

    def __init__(self, logits: NDArray[np.uint8], labels: Sequence[int], **options: Any) -> None:
        count, classes = logits.shape
        plain = {"in_channels": 1, "num_classes": classes, "resize": 8, "mean": [0.0], "std": [1.0]}
        sizes = {"batch_size": 4, "eval_batch_size": 3, "val_fraction": 0.5, "seed": 0}
        super().__init__(**(plain | sizes | options))  # type: ignore[arg-type]
        self.class_names = tuple(f"class {i}" for i in range(classes))
        images = np.zeros((2 * count, 1, 8, 8), dtype=np.uint8)
        images[count:, 0, 0, :classes] = logits
        images[count:, 0, 1:] = np.arange(count, dtype=np.uint8)[:, None, None]
        self.stored = as_tensors(images, np.array([*labels, *labels], dtype=np.int64))

    def read_train(self) -> ImageArray:
        return self.stored

    def split(self, labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        half = len(labels) // 2
        return np.arange(half), np.arange(half, 2 * half)


class Reader(nn.Module):
    """Reads its logits, as they were stored, from the first row of an image."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes, self.scale = classes, nn.Parameter(torch.tensor(255.0))

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, : self.classes] * self.scale


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """Train on ``data`` with callbacks and settings of the Trainer; what TensorBoard then has."""

    def run(data: Told, *callbacks: pl.Callback, net: nn.Module | None = None, lr: float = 0.0, **more: Any) -> Board:
        board = TensorBoardLogger(save_dir=str(tmp_path), name="", version="")
        own = {"max_epochs": 1, "logger": board, "log_every_n_steps": 1, "default_root_dir": str(tmp_path)}
        trainer = Trainer(precision="32-true", callbacks=[Constant(), *callbacks], **(QUIET | own | more))
        form: dict[str, Any] = {"in_channels": 1, "image_size": 8, "num_classes": data.num_classes}
        sgd = lambda parameters: torch.optim.SGD(parameters, lr)  # noqa: E731
        model = Classifier(net or Reader(data.num_classes), **form, optimizer=sgd)
        trainer.fit(model, datamodule=data)
        board.experiment.close()
        return Board(tmp_path)

    return run


@pytest.fixture
def told() -> Told:
    """Seven validation images: of class 0 two right and one taken for 1, of 1 both right, of 2 both wrong."""
    return Told(np.array(ROWS, dtype=np.uint8), LABELS)
