"""The Trainer's own additions: precision by the machine's ability, and hooks that do nothing are not called."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from conftest import Door
from quiet import QUIET
from torch.utils.data import DataLoader

from imgclf.trainer import Trainer


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "64-true"])
def test_precision_is_what_is_asked_for_or_what_the_processor_is_able_to(precision: Any) -> None:
    assert Trainer(precision=precision, **QUIET).precision == precision
    info = Path("/proc/cpuinfo")
    if info.exists() and "flags" in info.read_text():
        able = bool(set(info.read_text().split()) & {"avx512_bf16", "amx_tile"})
        assert Trainer(**QUIET).precision == ("bf16-mixed" if able else "32-true")


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_runs_of_other_precisions_can_be_evaluated(precision: str, door: Door) -> None:
    given = ("logger=none", "debug=fast", "model=lenet", "trainer=cpu", f"trainer.precision={precision}")
    door("train.py", *given, "hydra.run.dir=run")
    door("evaluate.py", "run=run")


def test_validation_every_other_epoch(door: Door, tmp_path: Path) -> None:
    given = ("logger=none", "debug=fast", "trainer.max_epochs=5", "trainer.check_val_every_n_epoch=2")
    door("train.py", *given, "hydra.run.dir=run")
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] in (1, 3), "an epoch that was validated"


class Parent(pl.Callback):
    """Has two of the step hooks, one of them from its parent."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.calls.append("start")


class Child(Parent):
    def on_before_zero_grad(self, *_: Any) -> None:
        self.calls.append("zero")


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.layer(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def test_hooks_that_a_callback_has_are_called_also_inherited_ones(tmp_path: Path) -> None:
    callback = Child()
    trainer = Trainer(max_epochs=2, callbacks=[callback], default_root_dir=str(tmp_path), **QUIET)
    trainer.fit(Net(), DataLoader(torch.ones(3, 2)))
    assert callback.calls == ["start", "zero"] * 6
