"""Learning-rate curves by tables worked out by hand, and in real trainings of a tiny linear network."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from conftest import Door, quiet_trainer
from run_files import table
from torch.utils.data import DataLoader, IterableDataset

import imgclf
from imgclf.build import built
from imgclf.errors import InputError
from imgclf.schedules.callback import Constant, Cosine, Factor, MultiStep, Polynomial, Schedule, SquareRoot, Step

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
Fit = Callable[..., Any]
CHAPTERS_COSINE = {"final_fraction": 0.01 / 0.3, "max_updates": 20}
MULTI: dict[str, Any] = {"milestones": [15], "factor": 0.5}


@pytest.mark.parametrize(
    ("schedule", "initial", "rates"),
    [
        (Constant(warmup_updates=5), 0.3, {0: 0.0, 1: 0.06, 2: 0.12, 4: 0.24, 5: 0.3, 900: 0.3}),
        (SquareRoot(), 0.1, {0: 0.1, 3: 0.05, 8: 0.1 / 3, 24: 0.02, 99: 0.01}),
        # 0.9^50 = 0.00515378, so t = 50 is the last update above the floor
        (Factor(factor=0.9, min_fraction=0.005), 2.0, {0: 2.0, 1: 1.8, 2: 1.62, 50: 0.01030755, 51: 0.01, 10**9: 0.01}),
        (Factor(factor=0.9, min_fraction=0, warmup_updates=5), 1.0, {4: 0.8, 5: 1.0, 7: 0.81, 10**9: 0.0}),
        (MultiStep(milestones=[15, 30], factor=0.5), 0.5, {0: 0.5, 14: 0.5, 15: 0.25, 29: 0.25, 30: 0.125, 99: 0.125}),
        (Step(period=4, factor=0.9), 2e-4, {0: 2e-4, 3: 2e-4, 4: 1.8e-4, 8: 1.62e-4, 19: 1.3122e-4, 10**9: 0.0}),
        (Cosine(**CHAPTERS_COSINE), 0.3, {0: 0.3, 5: 0.25753048, 10: 0.155, 15: 0.05246952, 20: 0.01, 29: 0.01}),
        # at 10 and 15 a third and two thirds of the 15 updates are over: cos 60° = 0.5 and cos 120° = -0.5
        (Cosine(**CHAPTERS_COSINE, warmup_updates=5), 0.3, {0: 0.0, 4: 0.24, 5: 0.3, 10: 0.2275, 15: 0.0825, 29: 0.01}),
        (Polynomial(power=2, max_updates=20), 0.5, {0: 0.5, 5: 0.28125, 10: 0.125, 19: 0.00125, 20: 0.0, 99: 0.0}),
        # 25 updates are left of the run's 30: (1 - 5/25)^2 = 0.64
        (Polynomial(power=2, warmup_updates=5, warmup_start=0.2), 1.0, {0: 0.2, 1: 0.36, 5: 1.0, 10: 0.64, 30: 0.0}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Schedule) else "",
)
def test_a_curve_is_the_one_worked_out_by_hand(schedule: Schedule, initial: float, rates: dict[int, float]) -> None:
    found = [initial * schedule.curve(update, 30) for update in rates]
    assert found == pytest.approx(list(rates.values()), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("choice", "key", "bad_values"),
    [
        ("constant", "interval", ["step", "null"]),
        ("constant", "warmup_updates", ["-1", "2.0", "'5'", "true", "null"]),
        ("constant schedule._target_=own.Halved", "warmup_updates", ["-1"]),
        ("factor", "factor", ["0", "-0.5", "1.1", "nan", "true"]),
        ("multi_step", "milestones", ["[30,15]", "[3,3]", "[-1]", "[0]", "[1.5]", "[true]", "15", "null"]),
        ("multi_step schedule.warmup_updates=5", "milestones", ["[3,15]", "[5,15]"]),
        ("cosine schedule.warmup_updates=5", "max_updates", ["0", "-20", "20.0", "true", "3", "5"]),
    ],
)
def test_nonsense_is_refused_with_its_key(choice: str, key: str, bad_values: list[str]) -> None:
    built(imgclf.compose(f"schedule={choice}".split()), "schedule")  # fine without the bad value
    for value in bad_values:
        with pytest.raises(InputError, match=rf"^schedule\.{key}="):
            built(imgclf.compose([*f"schedule={choice}".split(), f"schedule.{key}={value}"]), "schedule")


BATCHES = 5  # per epoch


class TinyNet(pl.LightningModule):
    """Linear 3 -> 2 under SGD with momentum; what it sees depends on (epoch, batch) alone, not on the loader."""

    def __init__(self, **groups: float) -> None:  # initial rates: "weight", and "bias" if wanted
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
    """One training: all groups' rates at each optimizer step."""

    net: pl.LightningModule
    pairs: list[list[float]] = field(default_factory=list)

    @property
    def rates(self) -> list[float]:
        return [rates[0] for rates in self.pairs]

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: torch.optim.Optimizer) -> None:
        self.pairs.append([float(group["lr"]) for group in optimizer.param_groups])


@pytest.fixture
def fit(tmp_path: Path) -> Fit:
    """fit(callbacks, net=..., loader=..., **Trainer arguments) -> Fitted."""

    def run(*callbacks: pl.Callback, net: pl.LightningModule | None = None, loader: Any = None, **more: Any) -> Fitted:
        fitted = Fitted(net or TinyNet(weight=0.1, bias=0.02))
        loader = DataLoader(torch.zeros(BATCHES, 3), batch_size=1) if loader is None else loader
        trainer = quiet_trainer(callbacks=[*callbacks, fitted], **({"default_root_dir": tmp_path} | more))
        trainer.fit(fitted.net, loader)
        return fitted

    return run


def test_by_batch_the_rate_changes_with_every_step(fit: Fit) -> None:
    # 8 steps for the whole run: a warm-up of 4 from 0, then a straight line to 0 over the other 4
    schedule = Polynomial(power=1, interval="batch", warmup_updates=4)
    fitted = fit(schedule, max_epochs=2, limit_train_batches=4)
    assert fitted.rates == pytest.approx([0.0, 0.025, 0.05, 0.075, 0.1, 0.075, 0.05, 0.025])
    assert [bias for _, bias in fitted.pairs] == pytest.approx([rate / 5 for rate in fitted.rates]), "its own rate's"


@pytest.mark.parametrize(
    ("interval", "settings", "updates"),
    [
        ("epoch", {"max_epochs": 4}, 4),
        ("epoch", {"max_steps": 12}, 3),  # 5 steps an epoch: the third is cut short
        ("batch", {"max_epochs": 4, "max_steps": 7}, 7),
        ("batch", {"max_epochs": 2, "accumulate_grad_batches": 2}, 6),  # 5 batches by 2: the third step has one
    ],
)
def test_a_run_ends_where_the_trainer_says(fit: Fit, interval: Any, settings: dict[str, Any], updates: int) -> None:
    levels = list(dict.fromkeys(fit(Polynomial(power=1, interval=interval), **settings).rates))
    assert levels == pytest.approx([0.1 * (updates - update) / updates for update in range(updates)])


class Endless(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        while True:
            yield torch.zeros(3)


@pytest.mark.parametrize("interval", ["epoch", "batch"])
def test_a_run_without_a_known_end_is_refused_where_the_schedule_needs_one(fit: Fit, interval: Any) -> None:
    epochs = -1 if interval == "epoch" else 2  # of unknown length
    loader = DataLoader(Endless(), batch_size=1)
    with pytest.raises(InputError, match=r"schedule\.max_updates=null.*set schedule\.max_updates"):
        fit(Cosine(final_fraction=0.1, interval=interval), max_epochs=epochs, loader=loader)
    ended = Cosine(final_fraction=0.1, max_updates=2, interval=interval)
    assert len(fit(ended, loader=loader, max_epochs=-1, max_steps=3).rates) == 3


def test_what_else_would_set_the_rate_is_refused(fit: Fit) -> None:
    with pytest.raises(InputError, match=r"Constant, Step.*keep one"):
        fit(Constant(), Step(period=4, factor=0.9), max_epochs=1)
    net = TinyNet(weight=0.1)
    optimizer = net.configure_optimizers()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)
    net.configure_optimizers = lambda: ([optimizer], [scheduler])
    with pytest.raises(InputError, match=r"Constant, StepLR.*keep one"):
        fit(Constant(), net=net, max_epochs=1)


def test_a_resumed_run_of_another_length_says_what_becomes_of_its_rate(door: Door) -> None:
    given = ("schedule=polynomial", "schedule.power=1", "debug=fast", "callbacks=bare", "logger=none")
    door("train.py", *given, "trainer.max_epochs=2", "hydra.run.dir=run")
    # 0.1 times 1, 3/4, 2/4, 1/4; where the run was to have ended, its last epoch had 1/2
    line = "schedule: planned for 2 epochs, now 4: the rate goes on at 0.05, where it was 0.05"
    assert line in door("train.py", "resume=run", "trainer.max_epochs=4").stderr
    door("train.py", *given, "trainer.max_epochs=2", "schedule.interval=batch", "hydra.run.dir=steps")
    told = door("train.py", "resume=steps", "trainer.max_epochs=4", "trainer.accumulate_grad_batches=2").stderr
    assert "planned for 4 optimizer steps, now 6" in told


def test_a_rate_falls_where_validation_no_longer_becomes_better(door: Door, tmp_path: Path) -> None:
    given = ("schedule=plateau", "schedule.patience=0", "optimizer.lr=1e-30", "callbacks=bare", "logger=none")
    # A rate at which nothing changes; the validation where max_steps ends it, within an epoch, does not count.
    door("train.py", *given, "debug=fast", "trainer.max_epochs=4", "+trainer.max_steps=3", "hydra.run.dir=run")
    door("train.py", "resume=run", "trainer.max_steps=8")
    rates = [float(row["lr"]) for row in table(tmp_path / "run")]
    assert rates == pytest.approx([1e-30, 1e-30, 1e-31, 1e-32], rel=1e-9, abs=0)
    # Validated after each of an epoch's two batches, the rate falls for the next, in a run that is cut there, too.
    within = (*given, "debug=fast", "trainer.max_epochs=3", "+trainer.val_check_interval=1")
    door("train.py", *within, "+trainer.max_steps=3", "hydra.run.dir=cut")
    door("train.py", "resume=cut", "trainer.max_steps=6")
    rates = [float(row["lr"]) for row in table(tmp_path / "cut")]
    assert rates == pytest.approx([1e-30, 1e-32, 1e-34], rel=1e-9, abs=0)
