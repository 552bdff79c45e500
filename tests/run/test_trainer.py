"""The Trainer's own additions: precision by the machine's ability, and hooks that do nothing are not called."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from quiet import QUIET
from torch.utils.data import DataLoader

from imgclf.errors import InputError
from imgclf.trainer import Trainer


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "64-true"])
def test_what_is_asked_for_is_taken(precision: Any) -> None:
    assert Trainer(precision=precision, **QUIET).precision == precision


def test_auto_computes_in_bfloat16_where_the_processor_says_that_it_can() -> None:
    info = Path("/proc/cpuinfo")
    if not info.exists() or "flags" not in info.read_text():
        pytest.skip("no /proc/cpuinfo to compare with")
    able = bool(set(info.read_text().split()) & {"avx512_bf16", "amx_tile"})
    assert Trainer(**QUIET).precision == ("bf16-mixed" if able else "32-true")


@pytest.mark.parametrize("name", ["max_epochs", "accumulate_grad_batches", "check_val_every_n_epoch"])
def test_a_number_that_makes_no_sense_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        Trainer(**QUIET, **{name: -2})


class Counter(pl.Callback):
    """Has two of the step hooks, one of them from its parent."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_train_batch_start(self, *args: Any) -> None:
        self.calls.append("start")


class Child(Counter):
    def on_before_zero_grad(self, *args: Any) -> None:
        self.calls.append("zero")


class Net(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.layer(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(callback: pl.Callback, tmp_path: Path, **settings: Any) -> Trainer:
    trainer = Trainer(
        max_epochs=2,
        callbacks=[callback],
        default_root_dir=str(tmp_path),
        **(QUIET | settings),
    )
    trainer.fit(Net(), DataLoader(torch.ones(3, 2)))
    return trainer


def test_hooks_that_a_callback_has_are_called_also_inherited_ones(tmp_path: Path) -> None:
    callback = Child()
    fit(callback, tmp_path)
    assert callback.calls == ["start", "zero"] * 6


def test_a_profiler_that_is_asked_for_measures(tmp_path: Path) -> None:
    trainer = fit(Counter(), tmp_path, profiler="simple")
    assert "run_training_epoch" in trainer.profiler.summary()
