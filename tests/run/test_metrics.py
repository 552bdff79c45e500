"""Metrics besides accuracy and loss, in files, monitored, and the same with several processes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Door
from torch import nn

from imgclf.models.classifier import Classifier

SHORT = ("metrics=full", "trainer.max_epochs=2", "data.batch_size=1000", "logger=none")


def test_they_are_written_monitored_and_evaluated(door: Door, tmp_path: Path) -> None:
    door("train.py", *SHORT, "callbacks.checkpoint.monitor=val/f1", "hydra.run.dir=run")
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    by_class = [value for name, value in found.items() if name.startswith("test/acc_of/")]
    assert len(by_class) == 10
    # Each class has as many test images, so that means over images and over classes are the same.
    assert np.mean(by_class) == pytest.approx(found["test/acc"], abs=1e-5)
    assert found["test/balanced_acc"] == pytest.approx(found["test/acc"], abs=1e-5)
    assert found["test/acc"] < found["test/top5"] <= 1
    assert 0 < found["test/ece"] < 1
    assert 0.5 < found["best/val/auroc"] <= 1
    table = (tmp_path / "run" / "metrics.csv").read_text()
    assert "val/f1" in table
    assert f"{found['test/f1']:.4f}" in door("evaluate.py", "run=run").stdout
    door("train.py", *SHORT, "callbacks.checkpoint.monitor=val/f1", "trainer=ddp_cpu", "hydra.run.dir=two")
    two = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert two["test/f1"] == pytest.approx(found["test/f1"], abs=0.01), "every image counted once"
    assert "val/f2" in door("train.py", *SHORT, "callbacks.checkpoint.monitor=val/f2", expect=2).stderr


def test_by_hand() -> None:
    from torchmetrics.classification import MulticlassF1Score

    net = nn.Flatten()  # two pixels are the logits
    form = {"in_channels": 1, "image_size": 1, "num_classes": 1}
    model = Classifier(net, **form, metrics={"f1": MulticlassF1Score(2, average="macro")})  # type: ignore[arg-type]
    more = model.more["val_more"]
    # Predicted 0, 0, 1, 1; true 0, 1, 1, 1. Class 0: precision 1/2, recall 1; class 1: precision 1, recall 2/3.
    more.update(torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7]]), torch.tensor([0, 1, 1, 1]))  # type: ignore[operator]
    assert float(more.compute()["val/f1"]) == pytest.approx((2 / 3 + 4 / 5) / 2)  # type: ignore[operator]
