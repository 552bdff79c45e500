"""Schedules in real Lightning trainings: the rate each step is taken with, refusals and logs."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from torch.utils.data import DataLoader, IterableDataset

from imgclf.errors import InputError
from imgclf.schedules.callback import Constant, Cosine, Factor, Polynomial, Step

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

Fit = Callable[..., Any]
NewNet = Callable[..., pl.LightningModule]


def test_by_batch_the_rate_changes_with_every_step(fit: Fit) -> None:
    # 8 steps for the whole run: a warm-up of 4 from 0, then a straight line to 0 over the other 4
    schedule = Polynomial(power=1, interval="batch", warmup_updates=4)
    fitted = fit(schedule, max_epochs=2, limit_train_batches=4)
    assert fitted.rates == pytest.approx([0.0, 0.025, 0.05, 0.075, 0.1, 0.075, 0.05, 0.025])
    assert fitted.epoch_rates == pytest.approx({0: 0.0, 1: 0.1}), "of the epoch's first batch"


@pytest.mark.parametrize("interval", ["epoch", "batch"])
def test_each_group_keeps_its_own_initial_rate(fit: Fit, interval: Any) -> None:
    fitted = fit(Factor(factor=0.5, min_fraction=0.25, interval=interval), max_epochs=3)
    fractions = [1.0] * 5 + [0.5] * 5 + [0.25] * 5 if interval == "epoch" else [1.0, 0.5] + [0.25] * 13
    assert fitted.pairs == [pytest.approx([0.1 * fraction, 0.02 * fraction]) for fraction in fractions]


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
        ("batch", {"max_epochs": 2, "accumulate_grad_batches": 2}, 6),  # 5 batches by 2: the third step has one
        ("batch", {"max_epochs": 3, "changing": {0: 4, 1: 2, 2: 1}}, 2 + 3 + 5),
        ("batch", {"max_steps": 4, "changing": {1: 2}}, 4),
        ("epoch", {"max_steps": 9, "changing": {1: 2}}, 3),  # 5, 3 and 1 of 3
    ],
)
def test_the_whole_run_is_what_the_trainer_says(
    fit: Fit, interval: Any, settings: dict[str, Any], updates: int
) -> None:
    changing = {name: GradientAccumulationScheduler(settings[name]) for name in settings if name == "changing"}
    others = {name: value for name, value in settings.items() if name not in changing}
    levels = list(dict.fromkeys(fit(Polynomial(power=1, interval=interval), *changing.values(), **others).rates))
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
    fitted = fit(Polynomial(power=1, interval="batch"), loader=loader, max_epochs=-1, max_steps=4)
    assert fitted.rates == pytest.approx([0.1, 0.075, 0.05, 0.025])


def test_what_else_would_set_the_rate_is_refused(fit: Fit, tiny_net: NewNet) -> None:
    with pytest.raises(InputError, match=r"Constant, Step.*keep one"):
        fit(Constant(), Step(period=4, factor=0.9), max_epochs=1)
    net = tiny_net(weight=0.1)
    net.automatic_optimization = False
    with pytest.raises(InputError, match="TinyNet optimises manually"):
        fit(Constant(), net=net, max_epochs=1)
    net = tiny_net(weight=0.1)
    optimizer = net.configure_optimizers()
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)
    net.configure_optimizers = lambda: ([optimizer], [scheduler])
    with pytest.raises(InputError, match=r"Constant, StepLR.*keep one"):
        fit(Constant(), net=net, max_epochs=1)


def test_a_rate_held_in_a_tensor_is_changed_in_place(fit: Fit, tiny_net: NewNet) -> None:
    net = tiny_net(weight=torch.tensor(0.5))
    assert fit(Factor(factor=0.5, min_fraction=0), net=net, max_epochs=3).rates == [0.5] * 5 + [0.25] * 5 + [0.125] * 5
    assert net.groups["weight"].item() == 0.125


def test_a_schedule_can_serve_a_second_training(fit: Fit) -> None:
    schedule = Factor(factor=0.5, min_fraction=0, warmup_updates=2, warmup_start=0.5)
    # the second begins with the very update that the first ended with
    assert fit(schedule, max_epochs=1).rates == fit(schedule, max_epochs=1).rates == [0.05] * 5
    assert fit(schedule, max_epochs=3).epoch_rates == pytest.approx({0: 0.05, 1: 0.075, 2: 0.1})


def test_by_epoch_the_rate_is_logged_once_an_epoch(fit: Fit, tiny_net: NewNet, kept: Any) -> None:
    fit(Factor(factor=0.5, min_fraction=0), net=tiny_net(weight=0.1, bias=0.1), max_epochs=3, logger=kept)
    assert kept.scalars["lr"] == [(0, 0.1), (5, 0.05), (10, 0.025)]
    assert not [name for name in kept.scalars if name.startswith("lr/")]


@pytest.mark.parametrize(("every", "steps"), [(4, (0, 4, 8)), (0, ())])
def test_by_batch_the_rate_is_logged_as_often_as_the_trainer_logs(
    fit: Fit, kept: Any, every: int, steps: tuple[int, ...]
) -> None:
    settings = {"max_epochs": 4, "accumulate_grad_batches": 2, "log_every_n_steps": every}
    fit(Polynomial(power=1, interval="batch"), logger=kept, **settings)
    # three steps an epoch, 12 in all; the second group trains at a fifth of the first group's rate
    for name, initial in (("lr", 0.1), ("lr/bias", 0.02)):
        rates = [(step, pytest.approx(initial * (12 - step) / 12)) for step in steps]
        assert kept.scalars.get(name, []) == rates
