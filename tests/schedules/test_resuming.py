"""A resumed training goes on with the rates, and to the weights, of one that was never interrupted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from imgclf.schedules.callback import Cosine, Factor, Polynomial, Schedule

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

Fit = Callable[..., Any]

EPOCHS = 4
SCHEDULES: list[Callable[[], Schedule]] = [
    lambda: Cosine(final_fraction=0.1, warmup_updates=2),
    lambda: Cosine(final_fraction=0.1, warmup_updates=7, interval="batch"),
    lambda: Factor(factor=0.8, min_fraction=0.0, interval="batch"),
]


class SaveAt(pl.Callback):
    """Saves a checkpoint in one hook of epoch 1; `steps` is the number of optimizer steps done by then."""

    def __init__(self, path: Path, hook: str, batch_idx: int | None) -> None:
        self.path = path
        self.hook = hook
        self.batch_idx = batch_idx
        self.steps = -1

    def save(self, trainer: pl.Trainer, hook: str, batch_idx: int | None = None) -> None:
        if (trainer.current_epoch, hook, batch_idx) == (1, self.hook, self.batch_idx):
            trainer.save_checkpoint(self.path)
            self.steps = trainer.global_step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.save(trainer, "batch", batch_idx)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.save(trainer, "validation")

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.save(trainer, "epoch")


@pytest.mark.parametrize("new_schedule", SCHEDULES, ids=["by epoch", "by batch", "without an end"])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    ("hook", "batch_idx"),
    [("batch", 1), ("batch", 3), ("batch", 4), ("validation", None), ("epoch", None)],
    ids=["early in an epoch", "late in an epoch", "last batch", "validation", "end of epoch"],
)
def test_a_resumed_run_is_the_uninterrupted_one(
    fit: Fit,
    tmp_path: Path,
    new_schedule: Callable[[], Schedule],
    accumulate: int,
    hook: str,
    batch_idx: int | None,
) -> None:
    settings = {"max_epochs": EPOCHS, "accumulate_grad_batches": accumulate, "validate": True}
    save = SaveAt(tmp_path / "at.ckpt", hook, batch_idx)
    whole = fit(new_schedule(), save, **settings)
    resumed = fit(new_schedule(), ckpt_path=save.path, **settings)

    assert 0 < save.steps < len(whole.rates)
    assert resumed.recorder.rates == whole.recorder.rates[save.steps :]
    for ours, theirs in zip(resumed.net.parameters(), whole.net.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    for epoch, rate in resumed.recorder.epoch_rates.items():
        assert rate == whole.recorder.epoch_rates[epoch]
    assert set(resumed.recorder.epoch_rates) >= {2, 3}


def test_a_run_resumed_between_two_steps_keeps_its_rate(fit: Fit, tmp_path: Path) -> None:
    # Batch 2 of 5 opens the second of the epoch's three steps; its gradients are lost, its rate is not.
    settings = {"max_epochs": EPOCHS, "accumulate_grad_batches": 2}
    save = SaveAt(tmp_path / "at.ckpt", "batch", 2)
    whole = fit(Factor(factor=0.8, min_fraction=0, interval="batch"), save, **settings)
    resumed = fit(Factor(factor=0.8, min_fraction=0, interval="batch"), ckpt_path=save.path, **settings)
    assert resumed.recorder.rates == whole.recorder.rates[save.steps :]
    assert resumed.recorder.epoch_rates == {epoch: whole.recorder.epoch_rates[epoch] for epoch in (1, 2, 3)}


class CrashAt(pl.Callback):
    """Fails within a step of epoch 1, and leaves a checkpoint."""

    def __init__(self, path: Path, batch_idx: int) -> None:
        self.path = path
        self.batch_idx = batch_idx

    def on_before_backward(self, trainer: pl.Trainer, pl_module: Any, loss: torch.Tensor) -> None:
        if (trainer.current_epoch, trainer.fit_loop.epoch_loop.batch_idx) == (1, self.batch_idx):
            raise RuntimeError("crash")

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("new_schedule", SCHEDULES, ids=["by epoch", "by batch", "without an end"])
@pytest.mark.parametrize("batch_idx", [0, 2, 4])
def test_a_crashed_run_goes_on_where_it_stopped(
    fit: Fit, tmp_path: Path, new_schedule: Callable[[], Schedule], batch_idx: int
) -> None:
    whole = fit(new_schedule(), max_epochs=EPOCHS)
    crash = CrashAt(tmp_path / "crash.ckpt", batch_idx)
    with pytest.raises(RuntimeError, match="crash"):
        fit(new_schedule(), crash, max_epochs=EPOCHS)
    resumed = fit(new_schedule(), ckpt_path=crash.path, max_epochs=EPOCHS)
    assert resumed.recorder.rates == whole.recorder.rates[5 + batch_idx :]
    assert resumed.recorder.epoch_rates == {epoch: whole.recorder.epoch_rates[epoch] for epoch in (1, 2, 3)}


@pytest.mark.parametrize("interval", ["epoch", "batch"])
def test_a_resumed_run_continues_the_logged_rates(fit: Fit, tmp_path: Path, interval: Any) -> None:
    def train(log: Path, *callbacks: pl.Callback, **settings: Any) -> list[tuple[int, float]]:
        schedule = Factor(factor=0.8, min_fraction=0, interval=interval)
        logger = TensorBoardLogger(log, name="", version="")
        fit(schedule, *callbacks, logger=logger, log_every_n_steps=3, max_epochs=EPOCHS, **settings)
        events = EventAccumulator(str(log))
        events.Reload()
        return [(event.step, event.value) for event in events.Scalars("lr")]

    save = SaveAt(tmp_path / "at.ckpt", "batch", 2)
    whole = train(tmp_path / "whole", save)
    resumed = train(tmp_path / "resumed", ckpt_path=save.path)
    assert resumed == [(step, rate) for step, rate in whole if step >= save.steps]


def test_a_longer_run_resumed_from_a_finished_one_stretches_the_schedule(fit: Fit, tmp_path: Path) -> None:
    save = SaveAt(tmp_path / "at.ckpt", "epoch", None)
    fit(Polynomial(power=1), save, max_epochs=2)
    resumed = fit(Polynomial(power=1), ckpt_path=save.path, max_epochs=4)
    # whole run: 0.1 times 1, 3/4, 2/4, 1/4; two epochs of five steps are behind us
    assert resumed.rates == pytest.approx([0.05] * 5 + [0.025] * 5)


def test_a_checkpoint_made_without_a_schedule_gives_the_initial_rates(fit: Fit, tmp_path: Path) -> None:
    save = SaveAt(tmp_path / "at.ckpt", "epoch", None)
    fit(save, max_epochs=2)
    resumed = fit(Factor(factor=0.5, min_fraction=0), ckpt_path=save.path, max_epochs=4)
    assert resumed.recorder.rates == [pytest.approx([0.1 / 4, 0.02 / 4])] * 5 + [pytest.approx([0.1 / 8, 0.02 / 8])] * 5


def test_a_schedule_adds_no_state_to_the_checkpoint(fit: Fit, tmp_path: Path) -> None:
    save = SaveAt(tmp_path / "at.ckpt", "batch", 1)
    fit(Cosine(final_fraction=0.1), save, max_epochs=2)
    checkpoint = torch.load(save.path, weights_only=True)  # primitives only
    assert checkpoint["callbacks"] == {}
    groups = checkpoint["optimizer_states"][0]["param_groups"]
    assert [group["initial_lr"] for group in groups] == [0.1, 0.02]
