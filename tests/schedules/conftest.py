"""A real Lightning training of a tiny linear model that records the rates its optimizer steps with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from conftest import quiet_trainer
from torch.utils.data import DataLoader

from imgclf.schedules.base import Schedule

BATCHES = 5  # per epoch


class TinyNet(pl.LightningModule):
    """Linear 3 -> 2 under SGD with momentum; what it sees depends on (epoch, batch) alone, not on the loader."""

    def __init__(self, **groups: float | torch.Tensor) -> None:  # initial rates: "weight", and "bias" if wanted
        super().__init__()
        torch.manual_seed(1)
        self.linear, self.groups = torch.nn.Linear(3, 2), groups
        self.images = torch.randn(20, BATCHES, 4, 3)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.linear(self.images[self.current_epoch, batch_idx]).square().mean()

    def configure_optimizers(self) -> Any:
        parameters = dict(self.linear.named_parameters())
        groups = [{"params": [parameters[name]], "lr": rate, "name": name} for name, rate in self.groups.items()]
        return torch.optim.SGD(groups, momentum=0.9)


@dataclass
class Fitted(pl.Callback):
    """One training: all groups' rates at each optimizer step, and epoch_rate at each epoch's end."""

    net: pl.LightningModule
    pairs: list[list[float]] = field(default_factory=list)
    epoch_rates: dict[int, float] = field(default_factory=dict)

    @property
    def rates(self) -> list[float]:
        """Rate of the first group at each optimizer step."""
        return [rates[0] for rates in self.pairs]

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        self.pairs.append([float(group["lr"]) for group in optimizer.param_groups])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        for callback in trainer.callbacks:
            if isinstance(callback, Schedule):
                self.epoch_rates[trainer.current_epoch] = callback.epoch_rate


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., Fitted]:
    """fit(callbacks, net=..., loader=..., **Trainer arguments) -> Fitted."""

    def run(
        *callbacks: pl.Callback, net: pl.LightningModule | None = None, loader: Any = None, **settings: Any
    ) -> Fitted:
        fitted = Fitted(net or TinyNet(weight=0.1, bias=0.02))
        loader = DataLoader(torch.zeros(BATCHES, 3), batch_size=1) if loader is None else loader
        trainer = quiet_trainer(callbacks=[*callbacks, fitted], **({"default_root_dir": tmp_path} | settings))
        trainer.fit(fitted.net, loader)
        return fitted

    return run
