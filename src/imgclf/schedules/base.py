"""What every learning-rate schedule does with a Lightning Trainer; the shapes themselves are in callback.py.

A schedule scales: each parameter group trains at its own initial rate (what the optimizer was built with)
times curve(update). So optimizer.lr says how high and the schedule says which shape; floors, final values and
the start of a warm-up are fractions of the initial rate.

Updates count epochs (interval "epoch": trainer.current_epoch) or optimizer steps (interval "batch":
trainer.global_step), from 0. A rate is set before the steps it applies to.

Any schedule can warm up first: linearly from warmup_start at update 0 to the full rate at warmup_updates.
Positions (max_updates, milestones) count from the start of the run, so a warm-up does not move them.
Durations and decays (a period, a factor for each update, a square root) count from the end of the warm-up.

A schedule keeps no state: a rate depends only on the update and on the group's "initial_lr", which is saved
with the optimizer. A resumed run therefore goes on exactly, with the initial rates of its checkpoint.
"""

import logging
import math
from abc import ABC, abstractmethod
from typing import Any, Literal

import pytorch_lightning as pl
import torch

from imgclf.errors import InputError
from imgclf.schedules import curves

logger = logging.getLogger(__name__)

Interval = Literal["epoch", "batch"]


class Schedule(pl.Callback, ABC):
    """Sets the learning rates of a Trainer with automatic optimisation; a subclass gives the shape: `decay`.

    interval: what an update is: an "epoch", or a "batch" (an optimizer step; with gradient accumulation one
        step takes several batches of the loader).
    warmup_updates: length of the linear warm-up, in updates; 0 for none.
    warmup_start: fraction of the initial rate at update 0 of a warm-up, from 0 to 1.

    `rates` holds the rates in force, one for each parameter group in the optimizer's order; `epoch_rate` the
    first group's rate at the first batch of the current epoch, also where the run was resumed later in it.

    The loggers get the first group's rate as `lr` and, where the groups differ, the others' as `lr/<name>`
    (the group's "name", or group_1, ...): at the first batch of each epoch or, with interval "batch", every
    trainer.log_every_n_steps steps. Their step is trainer.global_step.

    Raises InputError: here for a setting that makes no sense; at the start of a fit for a run it cannot serve
    (manual optimisation, a second schedule, no end where the schedule needs one).
    """

    def __init__(self, *, interval: Interval = "epoch", warmup_updates: int = 0, warmup_start: float = 0.0) -> None:
        if interval not in ("epoch", "batch"):
            raise InputError(f'schedule.interval={interval!r}: what an update is; give "epoch" or "batch"')
        self.interval: Interval = interval
        self.warmup_updates = whole_number("warmup_updates", warmup_updates, 0, "the updates of the warm-up")
        self.warmup_start = fraction("warmup_start", warmup_start, "where the warm-up starts")
        self.rates: tuple[float, ...] = ()
        self.epoch_rate = math.nan
        self._total_updates: int | None = None
        # The update that `rates` were set for: spares the work on batches where nothing changes.
        self._update_in_force: int | None = None

    def curve(self, update: int, total_updates: int | None) -> float:
        """Rate at `update` (>= 0) as a fraction of the initial rate, warm-up included; needs no Trainer.

        total_updates: number of updates of the whole run; None where the run has no end.
        """
        if update < self.warmup_updates:
            return curves.warmup(
                update, warmup_updates=self.warmup_updates, start_rate=self.warmup_start, base_rate=1.0
            )
        return self.decay(update, total_updates)

    @property
    def total_updates(self) -> int | None:
        """Number of updates of the run in progress; None where it has no end, and before it starts."""
        return self._total_updates

    def initial_rate(self, trainer: pl.Trainer) -> float:
        """The rate that the first parameter group was built with; `curve` is a fraction of it."""
        return _initial_rate(_groups(trainer)[0])

    @abstractmethod
    def decay(self, update: int, total_updates: int | None) -> float:
        """Fraction of the initial rate at `update` >= warmup_updates, counted from the start of the run."""

    def overruns(self, total_updates: int | None) -> list[str]:
        """What lies beyond the last update of a run of `total_updates`, in words; of an endless run, nothing.

        Raises InputError where the schedule needs an end and the run has none.
        """
        if total_updates is None or self.warmup_updates < total_updates:
            return []
        return [f"the warm-up (schedule.warmup_updates={self.warmup_updates}) does not reach the full rate"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        _refuse_rivals(trainer, pl_module)
        if trainer.max_epochs == -1 and _max_steps(trainer) == -1:
            self.overruns(None)  # raises now, rather than after the data have been read

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Not before: asking for the length makes Lightning set up the loader, and where that happens before a
        # checkpoint is restored, the position within the loader is lost.
        self._total_updates = _total_updates(trainer, self.interval)
        overruns = self.overruns(self._total_updates)
        if overruns and trainer.is_global_zero:
            # Not warnings.warn: it would say nothing to the second job of a sweep with the same numbers.
            logger.warning(
                "The schedule goes on beyond this run of %d %s: %s. Train longer or shorten the schedule.",
                self._total_updates,
                "epochs" if self.interval == "epoch" else "optimizer steps",
                "; ".join(overruns),
            )
        self.rates = tuple(float(group["lr"]) for group in _groups(trainer))
        self._update_in_force = None
        # Already here, because a run resumed in an epoch, or at its very end, does not see its first batch.
        self._keep_epoch_rate(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 0:
            self._keep_epoch_rate(trainer)
        update = trainer.current_epoch if self.interval == "epoch" else trainer.global_step
        if update == self._update_in_force:
            return
        self._update_in_force = update
        scale = self.curve(update, self._total_updates)
        self.rates = tuple(_set_rate(group, scale) for group in _groups(trainer))
        if trainer.is_global_zero and self._is_time_to_log(trainer, batch_idx):
            self._log_rates(trainer)

    def _keep_epoch_rate(self, trainer: pl.Trainer) -> None:
        first_update = trainer.current_epoch
        if self.interval == "batch":
            steps = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step
            first_update = trainer.global_step - steps.current.completed  # less the steps of this epoch
        self.epoch_rate = self.initial_rate(trainer) * self.curve(first_update, self._total_updates)

    def _is_time_to_log(self, trainer: pl.Trainer, batch_idx: int) -> bool:
        if self.interval == "epoch":
            return batch_idx == 0
        every_n_steps: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # 0: no logging by steps
        return every_n_steps > 0 and trainer.global_step % every_n_steps == 0

    def _log_rates(self, trainer: pl.Trainer) -> None:
        rates = {"lr": self.rates[0]}
        if len(set(self.rates)) > 1:
            for index, group in enumerate(_groups(trainer)[1:], start=1):
                rates[f"lr/{group.get('name', f'group_{index}')}"] = self.rates[index]
        for run_logger in trainer.loggers:
            run_logger.log_metrics(rates, step=trainer.global_step)


def whole_number(name: str, value: Any, at_least: int, meaning: str) -> int:
    """`value`, if it is a whole number of at least `at_least`; InputError otherwise.

    name: the argument's; meaning: what it stands for, in a few words for the message.
    """
    if not is_whole_number(value) or value < at_least:
        raise InputError(f"schedule.{name}={value!r}: {meaning}; give a whole number, at least {at_least}")
    return value


def fraction(name: str, value: Any, meaning: str, *, above_zero: bool = False) -> float:
    """`value` as a float, if it is a number in [0, 1], with `above_zero` in (0, 1]; InputError otherwise."""
    if not is_number(value) or not 0 <= value <= 1 or (above_zero and value == 0):
        limits = "above 0 and at most 1" if above_zero else "from 0 to 1"
        raise InputError(f"schedule.{name}={value!r}: {meaning}; give a number {limits}")
    return float(value)


def is_whole_number(value: Any) -> bool:
    """Whether `value` is an int (no bool, no float)."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether `value` is an int or a float (no bool), neither NaN nor infinite."""
    return (is_whole_number(value) or isinstance(value, float)) and abs(value) < math.inf


def _refuse_rivals(trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
    """Refuse a run in which something else steers the rates too."""
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    names = [type(callback).__name__ for callback in callbacks if isinstance(callback, Schedule)]
    names += [type(config.scheduler).__name__ for config in trainer.lr_scheduler_configs]
    if len(names) > 1:
        raise InputError(f"schedule: {', '.join(names)} would each set the learning rate; keep one")
    if not pl_module.automatic_optimization:
        raise InputError(
            f"schedule: {type(pl_module).__name__} optimises manually, and a schedule cannot follow"
            " optimizers that step at different times; optimise automatically, or take the schedule out"
        )


def _total_updates(trainer: pl.Trainer, interval: Interval) -> int | None:
    """Number of updates of the whole run; None where it has no end, or none that is known beforehand."""
    if interval == "batch":
        steps = trainer.estimated_stepping_batches
        return int(steps) if 0 <= steps < math.inf else None  # -1: epochs of unknown length
    limits = [] if trainer.max_epochs in (None, -1) else [int(trainer.max_epochs)]
    if _max_steps(trainer) != -1 and trainer.num_training_batches < math.inf:
        steps_per_epoch = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
        limits.append(math.ceil(_max_steps(trainer) / steps_per_epoch))
    return min(limits, default=None)


def _max_steps(trainer: pl.Trainer) -> int:
    """The limit in optimizer steps, which a Trainer of this package keeps to itself; -1 for none."""
    return int(getattr(trainer, "step_limit", trainer.max_steps))


def _groups(trainer: pl.Trainer) -> list[dict[str, Any]]:
    return [group for optimizer in trainer.optimizers for group in optimizer.param_groups]


def _initial_rate(group: dict[str, Any]) -> float:
    """The rate the group was built with, kept in the group under the name that torch's schedulers use."""
    return float(group.setdefault("initial_lr", float(group["lr"])))


def _set_rate(group: dict[str, Any], scale: float) -> float:
    rate = _initial_rate(group) * scale
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(rate)  # a compiled or captured optimizer reads this very tensor
    else:
        group["lr"] = rate
    return rate
