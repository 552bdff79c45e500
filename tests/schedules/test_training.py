"""Schedules in real Lightning trainings: the rate each step is taken with, warnings, refusals and logs."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader, Dataset, IterableDataset

from imgclf.errors import InputError
from imgclf.schedules.callback import Constant, Cosine, Factor, MultiStep, Polynomial, Schedule, Step

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

Fit = Callable[..., Any]
NewNet = Callable[..., pl.LightningModule]


def test_by_epoch_the_rate_holds_for_all_steps_of_an_epoch(fit: Fit) -> None:
    # 0.1, times a half at epoch 1 and again at epoch 3; 5 steps an epoch
    fitted = fit(MultiStep(milestones=[1, 3], factor=0.5), max_epochs=4)
    assert fitted.rates == pytest.approx([0.1] * 5 + [0.05] * 10 + [0.025] * 5)


def test_by_batch_the_rate_changes_with_every_step(fit: Fit) -> None:
    # 8 steps for the whole run: a warm-up of 4 from 0, then a straight line to 0 over the other 4
    schedule = Polynomial(power=1, interval="batch", warmup_updates=4)
    fitted = fit(schedule, max_epochs=2, limit_train_batches=4)
    expected = [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25]
    assert fitted.rates == pytest.approx([0.1 * fraction for fraction in expected])


def test_the_chapters_cosine_after_a_warm_up(fit: Fit, tiny_net: NewNet) -> None:
    schedule = Cosine(final_fraction=0.01 / 0.3, max_updates=20, warmup_updates=5)
    net = tiny_net(weight=0.3)
    fitted = fit(schedule, net=net, max_epochs=20, limit_train_batches=1)
    rates = fitted.rates
    assert [rates[epoch] for epoch in (0, 1, 4, 5, 10, 15)] == pytest.approx([0, 0.06, 0.24, 0.3, 0.2275, 0.0825])


@pytest.mark.parametrize("interval", ["epoch", "batch"])
def test_each_group_keeps_its_own_initial_rate(fit: Fit, interval: Any) -> None:
    fitted = fit(Factor(factor=0.5, min_fraction=0.25, interval=interval), max_epochs=3)
    fractions = [1.0] * 5 + [0.5] * 5 + [0.25] * 5 if interval == "epoch" else [1.0, 0.5] + [0.25] * 13
    expected = [[0.1 * fraction, 0.02 * fraction] for fraction in fractions]
    assert fitted.recorder.rates == [pytest.approx(pair) for pair in expected]
    assert [list(rates) for rates in fitted.recorder.read] == fitted.recorder.rates


def test_with_gradient_accumulation_an_update_is_an_optimizer_step(fit: Fit) -> None:
    # 5 batches by 2: three steps an epoch, the last on one batch alone; six in the run
    schedule = Polynomial(power=1, interval="batch")
    fitted = fit(schedule, max_epochs=2, accumulate_grad_batches=2)
    assert fitted.rates == pytest.approx([0.1 * (6 - step) / 6 for step in range(6)])
    assert fitted.recorder.epoch_rates == pytest.approx({0: 0.1, 1: 0.05})


def test_the_rate_of_an_epochs_first_batch_can_be_read_at_its_end(fit: Fit) -> None:
    fitted = fit(Step(period=2, factor=0.5, interval="batch"), max_epochs=3)
    # epochs begin at steps 0, 5 and 10, after 0, 2 and 5 halvings
    assert fitted.recorder.epoch_rates == pytest.approx({0: 0.1, 1: 0.025, 2: 0.003125})


@pytest.mark.parametrize(
    ("interval", "settings", "updates"),
    [
        ("epoch", {"max_epochs": 4}, 4),
        ("epoch", {"max_steps": 12}, 3),  # 5 steps an epoch: the third is cut short
        ("epoch", {"max_steps": 4, "accumulate_grad_batches": 2}, 2),  # 3 steps an epoch
        ("epoch", {"max_epochs": 4, "max_steps": 7}, 2),
        ("epoch", {"max_epochs": 2, "max_steps": 700}, 2),
        ("batch", {"max_epochs": 3}, 15),
        ("batch", {"max_steps": 12}, 12),
        ("batch", {"max_epochs": 4, "max_steps": 7}, 7),
        ("batch", {"max_epochs": 2, "limit_train_batches": 3}, 6),
    ],
)
def test_the_whole_run_is_what_the_trainer_says(
    fit: Fit, interval: Any, settings: dict[str, int], updates: int
) -> None:
    fitted = fit(Polynomial(power=1, interval=interval), **settings)
    levels = list(dict.fromkeys(fitted.rates))
    assert levels == pytest.approx([0.1 * (updates - update) / updates for update in range(updates)])


class Endless(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        while True:
            yield torch.zeros(3)


class Unreadable(Dataset[torch.Tensor]):
    """Shows that a run was refused before any data were read."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> torch.Tensor:
        raise AssertionError("the data were read")


@pytest.mark.parametrize("interval", ["epoch", "batch"])
def test_a_run_without_an_end_is_refused_where_the_schedule_needs_one(fit: Fit, interval: Any) -> None:
    schedules = [
        Cosine(final_fraction=0.1, interval=interval),
        Polynomial(power=2, interval=interval, warmup_updates=3),
    ]
    for schedule in schedules:
        with pytest.raises(InputError, match=r"schedule\.max_updates=null.*set schedule\.max_updates"):
            fit(
                schedule,
                max_epochs=-1,
                loader=DataLoader(Unreadable()),
                validate=True,
                num_sanity_val_steps=1,
            )
    fit(Cosine(final_fraction=0.1, max_updates=2, interval=interval), max_epochs=-1, max_steps=3)


def test_epochs_of_unknown_length_have_no_known_number_of_steps(fit: Fit) -> None:
    endless = DataLoader(Endless(), batch_size=1)
    with pytest.raises(InputError, match="interval batch"):
        fit(Cosine(final_fraction=0.1, interval="batch"), loader=endless, max_epochs=2)
    fitted = fit(Polynomial(power=1, interval="batch"), loader=endless, max_epochs=-1, max_steps=4)
    assert fitted.rates == pytest.approx([0.1, 0.075, 0.05, 0.025])


@pytest.mark.parametrize(
    ("schedule", "numbers"),
    [
        (
            Cosine(final_fraction=0.0, max_updates=4),
            ["2 epochs", "max_updates=4", "0.854 of the initial rate"],
        ),
        (MultiStep(milestones=[1, 2, 30], factor=0.5), ["2 epochs", "comes to 2, 30 of", "[1, 2, 30]"]),
        (Constant(warmup_updates=2), ["2 epochs", "warmup_updates=2"]),
        (Cosine(final_fraction=0.1, warmup_updates=3), ["2 epochs", "warmup_updates=3"]),
        (Polynomial(power=1, interval="batch", max_updates=11), ["10 optimizer steps", "max_updates=11"]),
        (
            Cosine(final_fraction=0.1, warmup_updates=3, max_updates=9),
            ["2 epochs", "warmup_updates=3", "max_updates=9"],
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Schedule) else "",
)
def test_a_schedule_beyond_the_end_of_the_run_gets_one_warning_with_the_numbers(
    fit: Fit, schedule: Schedule, numbers: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    fit(schedule, max_epochs=2)
    warnings = [record.getMessage() for record in caplog.records if record.name.startswith("imgclf")]
    assert len(warnings) == 1
    assert all(number in warnings[0] for number in numbers)


@pytest.mark.parametrize(
    "schedule",
    [
        Cosine(final_fraction=0.1),
        Cosine(final_fraction=0.1, max_updates=2, warmup_updates=1),
        Polynomial(power=2, interval="batch", max_updates=10),
        MultiStep(milestones=[1], factor=0.5),
        MultiStep(milestones=[9], factor=0.5, interval="batch"),
        Constant(warmup_updates=1),
        Step(period=4, factor=0.9),
    ],
    ids=lambda schedule: type(schedule).__name__,
)
def test_a_schedule_that_fits_gets_no_warning(fit: Fit, schedule: Schedule, caplog: pytest.LogCaptureFixture) -> None:
    fit(schedule, max_epochs=2)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_two_schedules_are_refused(fit: Fit) -> None:
    with pytest.raises(InputError, match=r"Constant, Step.*keep one"):
        fit(Constant(), Step(period=4, factor=0.9), max_epochs=1)


def test_a_scheduler_of_torch_beside_a_schedule_is_refused(fit: Fit, tiny_net: NewNet) -> None:
    net = tiny_net(weight=0.1)
    optimizer = net.configure_optimizers()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)
    net.configure_optimizers = lambda: ([optimizer], [scheduler])
    with pytest.raises(InputError, match=r"Constant, StepLR.*keep one"):
        fit(Constant(), net=net, max_epochs=1)


def test_manual_optimisation_is_refused(fit: Fit, tiny_net: NewNet) -> None:
    net = tiny_net(weight=0.1)
    net.automatic_optimization = False
    with pytest.raises(InputError, match="TinyNet optimises manually"):
        fit(Constant(), net=net, max_epochs=1)


def test_a_rate_held_in_a_tensor_is_changed_in_place(fit: Fit, tiny_net: NewNet) -> None:
    rate = torch.tensor(0.5)
    fitted = fit(Factor(factor=0.5, min_fraction=0), net=tiny_net(weight=rate), max_epochs=3)
    assert fitted.rates == [0.5] * 5 + [0.25] * 5 + [0.125] * 5
    assert fitted.trainer.optimizers[0].param_groups[0]["lr"] is rate


def test_a_schedule_can_serve_a_second_training(fit: Fit) -> None:
    schedule = Factor(factor=0.5, min_fraction=0, warmup_updates=2, warmup_start=0.5)
    # the second begins with the very update that the first ended with
    assert fit(schedule, max_epochs=1).rates == fit(schedule, max_epochs=1).rates == [0.05] * 5
    fitted = fit(schedule, max_epochs=3)
    assert fitted.recorder.epoch_rates == pytest.approx({0: 0.05, 1: 0.075, 2: 0.1})


def fit_logged(fit: Fit, folder: Path, *callbacks: pl.Callback, **settings: Any) -> dict[str, Any]:
    """(step, value) of each tag that a training leaves in TensorBoard's events."""
    fit(*callbacks, logger=TensorBoardLogger(folder, name="", version=""), **settings)
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def points(*pairs: tuple[int, float]) -> list[Any]:
    return [(step, pytest.approx(value)) for step, value in pairs]


def test_by_epoch_the_rate_is_logged_once_an_epoch(fit: Fit, tiny_net: NewNet, tmp_path: Path) -> None:
    net = tiny_net(weight=0.1, bias=0.1)
    scalars = fit_logged(fit, tmp_path, Factor(factor=0.5, min_fraction=0), net=net, max_epochs=3)
    assert scalars["lr"] == points((0, 0.1), (5, 0.05), (10, 0.025))
    assert not [tag for tag in scalars if tag.startswith("lr/")]


def test_by_batch_the_rate_is_logged_as_often_as_the_trainer_logs(fit: Fit, tmp_path: Path) -> None:
    settings = {"max_epochs": 4, "accumulate_grad_batches": 2, "log_every_n_steps": 4}
    scalars = fit_logged(fit, tmp_path, Polynomial(power=1, interval="batch"), **settings)
    # three steps an epoch, 12 in all; the second group trains at a fifth of the first group's rate
    assert scalars["lr"] == points((0, 0.1), (4, 0.1 * 8 / 12), (8, 0.1 * 4 / 12))
    assert scalars["lr/bias"] == points((0, 0.02), (4, 0.02 * 8 / 12), (8, 0.02 * 4 / 12))


def test_logging_by_steps_can_be_switched_off(fit: Fit, tmp_path: Path) -> None:
    schedule = Constant(interval="batch")
    assert "lr" not in fit_logged(fit, tmp_path, schedule, max_epochs=1, log_every_n_steps=0)
