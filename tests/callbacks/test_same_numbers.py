"""What TensorBoard is shown changes nothing of a run."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from conftest import Door
from hydra.utils import instantiate
from omegaconf import OmegaConf
from run_files import metrics, table, weights
from torch import Tensor, nn


def all_of_them(root: Path) -> list[pl.Callback]:
    """Every callback of the configurations that writes to TensorBoard, at each epoch."""
    files = [root / "conf" / "callbacks" / f"{name}.yaml" for name in ("default", "histograms")]
    entries = [entry for file in files for key, entry in OmegaConf.load(file).items() if key != "defaults"]
    return [instantiate(e, **({"every_n_epochs": 1} if "every_n_epochs" in e else {})) for e in entries]


class Gambler(nn.Module):
    """Draws from every global generator at each forward pass, in training and in validation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.PReLU(), nn.Linear(8, 3))
        self.frozen = nn.Dropout(0.5).eval()  # in another mode than the rest
        self.draws: list[Any] = []

    def forward(self, images: Tensor) -> Tensor:
        self.draws += [random.random(), float(np.random.rand()), float(torch.rand(()))]
        self.draws.append([part.training for part in self.modules()])
        return self.frozen(self.layers(images))


def trained(fit: Any, told: Any, callbacks: list[pl.Callback]) -> tuple[Any, ...]:
    """All that may differ: weights and running means, draws, modes, the state of all generators."""
    random.seed(1)
    np.random.seed(2)
    net = Gambler()
    torch.manual_seed(3)
    tags = fit(told, *callbacks, net=net, lr=0.1, max_epochs=3).tags
    state = {name: value.tolist() for name, value in net.state_dict().items()}
    return tags, state, net.draws, random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def test_no_number_is_drawn_and_no_mode_is_changed(fit: Any, told: Any, root: Path) -> None:
    _, *plain = trained(fit, told, [])
    tags, *shown = trained(fit, told, all_of_them(root))
    assert (len(tags["images"]), len(tags["histograms"])) == (5, 14)
    assert plain == shown


@pytest.mark.slow
def test_the_command_gives_the_very_numbers_with_and_without(door: Door, tmp_path: Path) -> None:
    run = ("trainer.max_epochs=2", "data.batch_size=500", "model.dropout=0.5", "data.augment=pad_crop_flip")
    often = [f"callbacks.{name}.every_n_epochs=1" for name in ("inputs", "confusion", "mistakes")]
    door("train.py", *run, "callbacks=bare", "hydra.run.dir=bare")
    door("train.py", *run, "callbacks=histograms", *often, "hydra.run.dir=shown")
    bare, shown = tmp_path / "bare", tmp_path / "shown"
    assert metrics(bare) == metrics(shown)
    assert table(bare) == table(shown)
    one, other = weights(bare), weights(shown)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
