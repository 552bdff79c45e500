"""A real Lightning training of a tiny linear model that records the rates its optimizer steps with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from conftest import quiet_trainer
from torch.utils.data import DataLoader

from imgclf.schedules.callback import Schedule

BATCHES = 5  # per epoch


class TinyNet(pl.LightningModule):
    """Linear 3 -> 2 under SGD with momentum.

    What it sees depends on (epoch, batch) alone, not on the loader, so that a resumed run can be exact.
    """

    def __init__(self, groups: dict[str, float | torch.Tensor]) -> None:
        """groups: initial rates by name, "weight" first; a second one, "bias", is optional."""
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.groups = groups
        generator = torch.Generator().manual_seed(1)
        self.images = torch.randn(20, BATCHES, 4, 3, generator=generator)
        with torch.no_grad():
            for parameter in self.linear.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.linear(self.images[self.current_epoch, batch_idx]).square().mean()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.linear(self.images[0, batch_idx])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        parameters = dict(self.linear.named_parameters())
        groups = [{"params": [parameters[name]], "lr": rate, "name": name} for name, rate in self.groups.items()]
        return torch.optim.SGD(groups, momentum=0.9)


class Recorder(pl.Callback):
    """What was in force: all groups' rates at each optimizer step, and epoch_rate at each epoch's end."""

    def __init__(self) -> None:
        self.rates: list[list[float]] = []
        self.read: list[tuple[float, ...]] = []
        self.epoch_rates: dict[int, float] = {}

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.rates.append([float(group["lr"]) for group in optimizer.param_groups])
        self.read.extend(schedule.rates for schedule in trainer.callbacks if isinstance(schedule, Schedule))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for callback in trainer.callbacks:
            if isinstance(callback, Schedule):
                self.epoch_rates[trainer.current_epoch] = callback.epoch_rate


@dataclass
class Fitted:
    """One training that has ended."""

    net: pl.LightningModule
    recorder: Recorder
    trainer: pl.Trainer

    @property
    def rates(self) -> list[float]:
        """Rate of the first group at each optimizer step."""
        return [rates[0] for rates in self.recorder.rates]


@pytest.fixture
def tiny_net() -> Callable[..., TinyNet]:
    """tiny_net(weight=0.1, ...) -> TinyNet with one parameter group for each name, at its initial rate."""
    return lambda **groups: TinyNet(groups)


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., Fitted]:
    """fit(callbacks, net=..., validate=..., ckpt_path=..., **Trainer arguments) -> Fitted."""

    def run(
        *callbacks: pl.Callback,
        net: pl.LightningModule | None = None,
        validate: bool = False,
        ckpt_path: Path | None = None,
        loader: Any = None,
        **settings: Any,
    ) -> Fitted:
        net = net or TinyNet({"weight": 0.1, "bias": 0.02})
        recorder = Recorder()
        trainer = quiet_trainer(callbacks=[*callbacks, recorder], **({"default_root_dir": tmp_path} | settings))
        if loader is None:
            loader = DataLoader(torch.zeros(BATCHES, 3), batch_size=1)
        trainer.fit(net, loader, loader if validate else None, ckpt_path=ckpt_path)
        return Fitted(net, recorder, trainer)

    return run
