"""A resumed training goes on with the rates, and to the weights, of one that was never interrupted."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from imgclf.schedules.callback import Constant, Cosine, Factor, Polynomial, Schedule

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

Fit = Callable[..., Any]

EPOCHS = 4
SCHEDULES: dict[str, Callable[[], Schedule]] = {
    "by epoch": lambda: Cosine(final_fraction=0.1, warmup_updates=2),
    "by batch": lambda: Cosine(final_fraction=0.1, warmup_updates=7, interval="batch"),
    "without an end": lambda: Factor(factor=0.8, min_fraction=0.0, interval="batch"),
}


class CrashError(RuntimeError): ...


class SaveAt(pl.Callback):
    """Saves a checkpoint in one hook of epoch 1; `steps` is the number of optimizer steps done by then."""

    def __init__(self, path: Path, hook: str) -> None:
        self.path, self.hook, self.steps = path, hook, -1

    def save(self, trainer: pl.Trainer, hook: str) -> None:
        if (trainer.current_epoch, hook) == (1, self.hook):
            trainer.save_checkpoint(self.path)
            self.steps = trainer.global_step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.save(trainer, f"batch {batch_idx}")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.save(trainer, "validation")

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.save(trainer, "epoch")

    def on_before_backward(self, trainer: pl.Trainer, pl_module: Any, loss: torch.Tensor) -> None:
        if self.hook == f"crash {trainer.fit_loop.epoch_loop.batch_idx}" and trainer.current_epoch == 1:
            raise CrashError

    def on_exception(self, trainer: pl.Trainer, pl_module: Any, exception: BaseException) -> None:
        self.save(trainer, self.hook)


@pytest.fixture
def saved(fit: Fit, tmp_path: Path) -> Callable[..., SaveAt]:
    """saved(schedule, hook, **settings): trains until the hook's end or crash, and gives its SaveAt."""

    def run(schedule: Schedule | None, hook: str, **settings: Any) -> SaveAt:
        save = SaveAt(tmp_path / "at.ckpt", hook)
        with contextlib.suppress(CrashError):
            fit(*([schedule] if schedule else []), save, **settings)
        return save

    return run


@pytest.mark.parametrize(("name", "accumulate"), [("by epoch", 1), ("by batch", 2), ("without an end", 2)])
@pytest.mark.parametrize("hook", ["batch 2", "batch 3", "batch 4", "validation", "epoch", "crash 2"])
def test_a_resumed_run_is_the_uninterrupted_one(fit: Fit, saved: Any, name: str, accumulate: int, hook: str) -> None:
    settings = {"max_epochs": EPOCHS, "accumulate_grad_batches": accumulate, "validate": True}
    save = saved(SCHEDULES[name](), hook, **settings)
    whole = fit(SCHEDULES[name](), **settings)
    resumed = fit(SCHEDULES[name](), ckpt_path=save.path, **settings)

    assert 0 < save.steps < len(whole.rates)
    assert resumed.pairs == whole.pairs[save.steps :]
    if (hook, accumulate) != ("batch 2", 2):  # within a step, where the gradients are lost and the rate is not
        for ours, theirs in zip(resumed.net.parameters(), whole.net.parameters(), strict=True):
            assert torch.equal(ours, theirs)
    assert resumed.epoch_rates.items() <= whole.epoch_rates.items()
    assert set(resumed.epoch_rates) >= {2, 3}


@pytest.mark.parametrize("interval", ["epoch", "batch"])
def test_a_resumed_run_continues_the_logged_rates(fit: Fit, saved: Any, kept: Any, interval: Any) -> None:
    settings = {"logger": kept, "log_every_n_steps": 3, "max_epochs": EPOCHS}
    save = saved(Factor(factor=0.8, min_fraction=0, interval=interval), "batch 2", **settings)
    whole = list(kept.scalars.pop("lr"))
    fit(Factor(factor=0.8, min_fraction=0, interval=interval), ckpt_path=save.path, **settings)
    assert kept.scalars["lr"] == [(step, rate) for step, rate in whole if step >= save.steps]


@pytest.mark.parametrize(
    ("schedule", "hook", "before", "after", "line"),
    [
        # 0.1 times 1, 3/4, 2/4, 1/4; where the run was to have ended, its last epoch had 1/2
        ("epoch", "epoch", 2, 4, "schedule: planned for 2 epochs, now 4: the rate goes on at 0.05, where it was 0.05"),
        # 30 steps, of which 8 are done: 22/30; of 10 the last had 3/10
        ("batch", "batch 2", 2, 6, "10 optimizer steps, now 30: the rate goes on at 0.0733, where it was 0.03"),
        ("epoch", "epoch", 2, 2, None),
        (None, "epoch", 2, 4, None),
    ],
)
def test_a_resumed_run_of_another_length_says_what_becomes_of_its_rate(
    fit: Fit, saved: Any, caplog: Any, schedule: Any, hook: str, before: int, after: int, line: str | None
) -> None:
    new = (lambda: Polynomial(power=1, interval=schedule)) if schedule else Constant
    save = saved(new(), hook, max_epochs=before)
    caplog.clear()
    resumed = fit(new(), ckpt_path=save.path, max_epochs=after)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("imgclf")]
    assert len(said) == (line is not None)
    if line:
        assert line in said[0]
        assert f"{resumed.rates[0]:.3g}," in said[0]


def test_a_checkpoint_made_without_a_schedule_gives_the_initial_rates(fit: Fit, saved: Any) -> None:
    save = saved(None, "epoch", max_epochs=2)
    resumed = fit(Factor(factor=0.5, min_fraction=0), ckpt_path=save.path, max_epochs=4)
    assert resumed.pairs == [pytest.approx([0.1 / 4, 0.02 / 4])] * 5 + [pytest.approx([0.1 / 8, 0.02 / 8])] * 5
    assert torch.load(save.path, weights_only=True)["callbacks"] == {}
