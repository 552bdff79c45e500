"""When checkpoints are written, and what they remember."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from conftest import quiet_trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from imgclf.callbacks.checkpoints import BestAndLast
from imgclf.callbacks.epoch_table import EpochTable
from imgclf.callbacks.stop import EarlyStopping, StopOnSignal
from imgclf.errors import InputError
from imgclf.run_folder import RunFolder

BATCHES = 6


class Net(pl.LightningModule):
    """Four features to two classes; the validation score of each epoch is given, and its loss if wanted."""

    def __init__(self, scores: list[float], losses: list[float] | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 2)
        self.register_buffer("mask", torch.tensor(-math.inf))  # as that of a transformer
        self.scores, self.losses = scores, losses

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.layer(batch[0]), batch[1])

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("val/acc", self.scores[self.current_epoch])
        if self.losses is not None:
            self.log("val/loss", self.losses[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


Fit = Callable[..., pl.Trainer]


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """Train for as many epochs as there are scores: ``fit(BestAndLast(...), [0.1, 0.2])``."""

    def train(
        checkpoint: BestAndLast, scores: list[float], *more: Any, losses: Any = None, resume: bool = False, **own: Any
    ) -> pl.Trainer:
        data = TensorDataset(torch.arange(48.0).view(12, 4) / 48, torch.arange(12) % 2)
        callbacks = [checkpoint, *more, StopOnSignal(checkpoint)]
        own = {"max_epochs": len(scores), "enable_checkpointing": True, "default_root_dir": tmp_path} | own
        trainer = quiet_trainer(**own, callbacks=callbacks)
        last = tmp_path / "checkpoints" / "last.ckpt" if resume else None
        trainer.fit(Net(scores, losses), DataLoader(data, 2), DataLoader(data, 12), ckpt_path=last, weights_only=True)
        return trainer

    return train


def checkpoint(**settings: Any) -> BestAndLast:
    return BestAndLast(**{"monitor": "val/acc", "mode": "max", "every_n_epochs": 1} | settings)


class Watched(BestAndLast):
    """Notes after how many steps it saves."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"monitor": "val/acc", "mode": "max", "every_n_epochs": 100} | settings)
        self.steps: list[int] = []

    def save(self, trainer: pl.Trainer, *names: str) -> None:
        super().save(trainer, *names)
        if not names or "last.ckpt" in names:
            self.steps.append(trainer.global_step)


FALLING = [0.9, 0.8, 0.7]  # the first epoch is the best, the last is the end; in between nothing asks for a checkpoint


@pytest.mark.parametrize(
    ("settings", "trainer", "steps"),
    [
        ({}, {}, [6, 18]),
        ({"every_n_steps": 4}, {}, [4, 6, 8, 12, 16, 18]),  # 12 is the end of an epoch
        ({"every_minutes": 0.0}, {}, list(range(1, 19))),
        ({"every_n_steps": 3}, {"val_check_interval": 3}, [3, 6, 9, 12, 15, 18]),  # when it is validated, too
        ({}, {"check_val_every_n_epoch": 3}, [18]),  # nothing is best before the first validation
        ({}, {"val_check_interval": 2}, [2, 18]),  # best.ckpt is not ahead for long
        # Steps of two batches, so that none is saved with gradients that wait: three to an epoch.
        ({"every_n_steps": 1}, {"accumulate_grad_batches": 2}, list(range(1, 10))),
    ],
)
def test_when_last_is_written(fit: Fit, settings: dict[str, Any], trainer: dict[str, Any], steps: list[int]) -> None:
    watched = Watched(**settings)
    fit(watched, FALLING, **trainer)
    assert watched.steps == steps


@pytest.mark.parametrize(
    ("mode", "scores", "losses", "best"),
    [
        ("min", [0.5, 0.4, 0.6], None, 1),
        ("max", [math.nan, 0.2, math.nan], None, 1),
        ("max", [0.5, 0.5, 0.5, 0.4], [0.9, 0.3, 0.6, 0.1], 1),  # among equal scores the lowest loss
        ("max", [0.5, 0.6, 0.5, 0.6], [0.9, 0.3, 0.1, 0.3], 1),  # equal in both: the first
    ],
)
def test_the_best_epoch_and_its_weights(
    fit: Fit, tmp_path: Path, mode: str, scores: list[float], losses: Any, best: int
) -> None:
    kept, file = checkpoint(mode=mode, every_n_steps=1), tmp_path / "checkpoints" / "best.ckpt"
    fit(kept, scores, losses=losses)
    assert kept.best_epoch == best
    step = torch.load(file, weights_only=True)["global_step"]
    assert step == (best + 1) * BATCHES, "of the epoch's end, whatever was saved within it"


def test_an_epoch_without_validation_is_never_the_best_and_has_no_score_in_the_table(fit: Fit, tmp_path: Path) -> None:
    kept, table = checkpoint(), EpochTable(RunFolder(tmp_path))
    fit(kept, [0.0, 0.5, 0.0, 0.7], table, check_val_every_n_epoch=2)
    assert (kept.best_epoch, kept.best_score) == (3, pytest.approx(0.7))
    assert ["val/acc" in row for row in table.rows] == [False, True, False, True]


class Odd(pl.Callback):
    def state_dict(self) -> dict[str, Any]:
        return {"score": np.float64(0.5)}


def test_a_checkpoint_that_could_not_be_read_again_is_told_of_at_once(fit: Fit, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no numpy\..*state_dict\(\)"):
        fit(checkpoint(), [0.9, 0.8], Odd())
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_run_that_early_stopping_has_ended_is_over_when_it_is_resumed(fit: Fit) -> None:
    stopping = functools.partial(EarlyStopping, monitor="val/acc", mode="max", patience=1)
    scores = [0.9, 0.8, 0.7, 0.6]
    first = fit(checkpoint(), scores, stopping())
    assert first.current_epoch == 2
    again = fit(checkpoint(), scores, stopping(), resume=True)
    assert (again.current_epoch, again.global_step) == (first.current_epoch, first.global_step)
    further = fit(checkpoint(), scores, stopping(), resume=True, max_epochs=5)
    assert further.current_epoch == 3, "asked for more, it goes on until it is stopped again"
    assert fit(checkpoint(), scores, stopping(patience=9), resume=True, max_epochs=4).current_epoch == 4
