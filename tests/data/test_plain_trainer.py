"""The data with Lightning's own Trainer, from Python."""

from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from conftest import QUIET

from imgclf.data.batches import ImageArray
from imgclf.data.module import ImageData, as_tensors
from imgclf.errors import InputError
from imgclf.models.mlp import MLP


class Grey(ImageData):
    """Forty images of noise, 8 x 8."""

    def __init__(self, **settings: Any) -> None:
        form: dict[str, Any] = {"in_channels": 1, "num_classes": 2, "resize": 8, "mean": [0.5], "std": [0.5]}
        super().__init__(**form, batch_size=8, eval_batch_size=8, val_fraction=0.2, seed=0, **settings)

    def read_train(self) -> ImageArray:
        pixels = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
        return as_tensors(pixels, np.arange(40, dtype=np.int64) % 2)


def mlp() -> MLP:
    return MLP(
        hidden_sizes=[4], in_channels=1, image_size=8, num_classes=2, optimizer=lambda p: torch.optim.SGD(p, 0.1)
    )


def test_one_process(tmp_path: Any) -> None:
    trainer = pl.Trainer(**QUIET | {"max_epochs": 1, "default_root_dir": tmp_path, "enable_model_summary": True})
    trainer.fit(mlp(), datamodule=Grey())
    assert {"train/loss", "val/acc"} <= trainer.callback_metrics.keys()


def test_lightnings_own_samplers_are_refused_with_several(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Grey()
    data.setup("fit")
    data.trainer = pl.Trainer(**QUIET)
    monkeypatch.setattr(pl.Trainer, "world_size", 2)
    with pytest.raises(InputError, match=r"trainer\.use_distributed_sampler"):
        data.train_dataloader()


def test_nothing_is_pinned_for_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    data = Grey()
    data.setup("fit")
    assert not data.train_dataloader().pin_memory
