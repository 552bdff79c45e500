"""Schedules in real Lightning trainings: the rate each step is taken with, refusals and logs."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from conftest import Door
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from schedules.conftest import TinyNet
from torch.utils.data import DataLoader, IterableDataset

from imgclf.errors import InputError
from imgclf.schedules.callback import Constant, Cosine, Polynomial, Step

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

Fit = Callable[..., Any]


def test_by_batch_the_rate_changes_with_every_step(fit: Fit) -> None:
    # 8 steps for the whole run: a warm-up of 4 from 0, then a straight line to 0 over the other 4
    schedule = Polynomial(power=1, interval="batch", warmup_updates=4)
    fitted = fit(schedule, max_epochs=2, limit_train_batches=4)
    assert fitted.rates == pytest.approx([0.0, 0.025, 0.05, 0.075, 0.1, 0.075, 0.05, 0.025])
    assert fitted.epoch_rates == pytest.approx({0: 0.0, 1: 0.1}), "of the epoch's first batch"


@pytest.mark.parametrize(
    ("interval", "settings", "updates"),
    [
        ("epoch", {"max_epochs": 4}, 4),
        ("epoch", {"max_steps": 12}, 3),  # 5 steps an epoch: the third is cut short
        ("epoch", {"max_epochs": 4, "max_steps": 7}, 2),
        ("epoch", {"max_epochs": 2, "max_steps": 700}, 2),
        ("batch", {"max_epochs": 4, "max_steps": 7}, 7),
        ("batch", {"max_epochs": 2, "accumulate_grad_batches": 2}, 6),  # 5 batches by 2: the third step has one
        ("batch", {"max_epochs": 3, "changing": {0: 4, 1: 2, 2: 1}}, 2 + 3 + 5),
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
