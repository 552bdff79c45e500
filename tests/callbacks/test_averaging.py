"""Averaged weights: what is averaged, and that it is the averaged weights that are validated, kept and tested."""

import json
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from conftest import Door, quiet_trainer
from run_files import table
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from imgclf.callbacks.swa import StochasticWeightAveraging
from imgclf.errors import InputError


class Net(pl.LightningModule):
    """Ten features to three classes, with batch normalisation; notes its weights when validated and trained."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        self.after_epoch: list[dict[str, torch.Tensor]] = []
        self.validated: list[dict[str, torch.Tensor]] = []

    def weights(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self.state_dict().items()}

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.layers(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.validated.append(self.weights())

    def on_train_epoch_end(self) -> None:
        self.after_epoch.append(self.weights())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.5)


def fit(start_epoch: int, tmp_path: Path, max_epochs: int = 4) -> Net:
    generator = torch.Generator().manual_seed(1)
    data = TensorDataset(torch.randn(24, 10, generator=generator), torch.arange(24) % 3)
    net = Net()
    averaging = StochasticWeightAveraging(start_epoch)
    trainer = quiet_trainer(max_epochs=max_epochs, default_root_dir=tmp_path, callbacks=[averaging])
    trainer.fit(net, DataLoader(data, batch_size=8), DataLoader(data, batch_size=24))
    return net


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.allclose(a[name], b[name], atol=1e-6) for name in a if "num_batches" not in name)


def test_validation_sees_the_network_before_the_start_and_the_mean_from_then_on(tmp_path: Path) -> None:
    net = fit(start_epoch=2, tmp_path=tmp_path)
    e = net.after_epoch
    mean = {name: (e[2][name] + e[3][name]) / 2 for name in e[0] if e[0][name].is_floating_point()}
    assert not equal(e[2], e[3])
    assert equal(net.validated[0], e[0])
    assert equal(net.validated[1], e[1])
    assert equal(net.validated[2], e[2])  # the mean of one
    assert equal(mean, net.validated[3])
    assert equal(mean, net.weights())  # and what is left after training


def test_a_start_after_the_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"start_epoch=4.*max_epochs=4"):
        fit(start_epoch=4, tmp_path=tmp_path)


@pytest.mark.parametrize(
    "averaging", [("callbacks=swa", "callbacks.swa.start_epoch=1"), ("callbacks=ema", "callbacks.ema.decay=0.9")]
)
def test_the_command_tests_the_mean_and_resumes_it(averaging: tuple[str, ...], door: Door, tmp_path: Path) -> None:
    settings = ("data.batch_size=1000", "optimizer.lr=0.5", *averaging)
    door("train.py", *settings, "trainer.max_epochs=4", "hydra.run.dir=whole")
    metrics = json.loads((tmp_path / "whole" / "metrics.json").read_text())

    # The checkpoint that evaluation and prediction read holds the mean, not the weights of the last step.
    last = torch.load(tmp_path / "whole" / "checkpoints" / "last.ckpt", weights_only=True)
    name = "net.0.weight" if "net.0.weight" in last["state_dict"] else next(iter(last["state_dict"]))
    assert not torch.equal(last["state_dict"][name], last["current_model_state"][name])
    shown = door("evaluate.py", "run=whole").stdout
    assert f"{metrics['test/acc']:.4f}" in shown

    door("train.py", *settings, "trainer.max_epochs=2", "hydra.run.dir=half")
    door("train.py", "resume=half", "trainer.max_epochs=4")
    assert table(tmp_path / "half") == table(tmp_path / "whole")
    again = torch.load(tmp_path / "half" / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(torch.equal(again["state_dict"][k], v) for k, v in last["state_dict"].items())


def test_without_averaging_the_numbers_are_others(door: Door, tmp_path: Path) -> None:
    for name, callbacks in (("plain", "default"), ("mean", "ema")):
        settings = ("data.batch_size=1000", "trainer.max_epochs=2", f"callbacks={callbacks}")
        door("train.py", *settings, f"hydra.run.dir={name}")
    plain, mean = table(tmp_path / "plain"), table(tmp_path / "mean")
    assert plain[-1]["train/loss"] == mean[-1]["train/loss"]  # training itself is left alone
    assert plain[-1]["val/loss"] != mean[-1]["val/loss"]
