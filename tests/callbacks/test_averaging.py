"""Averaged weights: what is averaged, and that it is the averaged weights that are validated, kept and tested."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from conftest import quiet_trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from imgclf.callbacks.averaging import Averaging, ExponentialMovingAverage, StochasticWeightAveraging

Weights = dict[str, Tensor]
CLOSE = {"rtol": 1e-5, "atol": 1e-6}


class Net(pl.LightningModule):
    """Ten features to three classes, with batch normalisation; notes its weights when validated and trained."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(10, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
        self.register_buffer("places", torch.arange(169))  # as Swin has
        self.after_step: list[Weights] = []
        self.validated: list[Weights] = []

    def weights(self) -> Weights:
        return {n: value.clone() for n, value in self.state_dict().items() if value.is_floating_point()}

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.layers(batch[0]), batch[1])

    def on_train_batch_end(self, *_: object) -> None:
        self.after_step.append(self.weights())

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.validated.append(self.weights())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.5)


def fit(averaging: Averaging, tmp_path: Path) -> Net:
    """Four epochs of six steps."""
    generator = torch.Generator().manual_seed(1)
    data = TensorDataset(torch.randn(24, 10, generator=generator), torch.arange(24) % 3)
    net = Net()
    trainer = quiet_trainer(max_epochs=4, default_root_dir=tmp_path, callbacks=[averaging])
    trainer.fit(net, DataLoader(data, batch_size=4), DataLoader(data, batch_size=24))
    return net


def mixed(a: Weights, b: Weights, share: float) -> Weights:
    """``share`` of a and the rest of b."""
    return {name: share * a[name] + (1 - share) * b[name] for name in a}


def test_the_equal_mean_begins_with_the_epoch_and_until_then_the_network_itself_is_validated(tmp_path: Path) -> None:
    net = fit(StochasticWeightAveraging(start_epoch=2), tmp_path)
    after = net.after_step[5::6]
    mean = mixed(after[2], after[3], 0.5)
    torch.testing.assert_close([*net.validated, net.weights()], [*after[:3], mean, mean], **CLOSE)


def test_the_moving_average_starts_from_the_network_and_its_decay_grows_to_what_was_given(tmp_path: Path) -> None:
    net = fit(ExponentialMovingAverage(decay=0.6), tmp_path)
    means = [net.after_step[0]]  # after one step nothing untrained is left
    for updates, after in enumerate(net.after_step[1:], start=1):
        means.append(mixed(means[-1], after, min((1 + updates) / (10 + updates), 0.6)))
    torch.testing.assert_close([*net.validated, net.weights()], [*means[5::6], means[-1]], **CLOSE)
    assert net.state_dict()["places"].equal(torch.arange(169))
