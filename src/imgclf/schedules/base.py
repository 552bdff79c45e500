"""What every learning-rate schedule does with a Lightning Trainer; the curves are in callback.py.

A schedule scales: each parameter group trains at its own initial rate (what the optimizer was built with) times
curve(update). Updates count epochs or optimizer steps from 0. Positions (max_updates, milestones) count from the start
of the run, so a warm-up does not move them; durations and decays (a period, a factor for each update, a square root)
count from the end of the warm-up.
"""

import logging
import math
from abc import ABC, abstractmethod
from typing import Any, Literal

import pytorch_lightning as pl

from imgclf.errors import InputError
from imgclf.ranges import AtLeast0, Fraction

logger = logging.getLogger(__name__)

Interval = Literal["epoch", "batch"]


class Schedule(pl.Callback, ABC):
    """Sets the learning rates of a Trainer with automatic optimisation; a subclass gives the shape: `decay`.

    interval: what an update is: an "epoch", or a "batch" (an optimizer step; with gradient accumulation one
        step takes several batches of the loader).
    warmup_updates: length of the linear warm-up in front, in updates; 0 for none.
    warmup_start: fraction of the initial rate at update 0 of a warm-up, from 0 to 1.

    `total_updates` is the number of updates of the run in progress, None where it has no end, and before it starts.
    A rate depends only on the update and the group's "initial_lr", which is saved with the optimizer: a resumed run
    goes on exactly, and where its total has changed, a line says what that does to the rate.

    The loggers get the first group's rate as `lr` and, where the groups differ, the others' as `lr/<name>` (the group's
    "name", or group_1, ...): at the first batch of each epoch, or every trainer.log_every_n_steps optimizer steps.

    Raises InputError: here for a setting that makes no sense; at the start of a fit for a run it cannot serve.
    """

    is_planned = True  # whether its rates are known before the training

    def __init__(
        self, *, interval: Interval = "epoch", warmup_updates: AtLeast0 = 0, warmup_start: Fraction = 0.0
    ) -> None:
        self.interval: Interval = interval
        self.warmup_updates = warmup_updates
        self.warmup_start = warmup_start
        self.total_updates: int | None = None
        self._planned: int | None = None  # the total of the run that is being resumed
        self._update_in_force: int | None = None  # what the rates were set for: spares work where nothing changes

    @abstractmethod
    def decay(self, update: int, total_updates: int | None) -> float:
        """Fraction of the initial rate at `update` >= warmup_updates, counted from the start of the run."""

    def curve(self, update: int, total_updates: int | None) -> float:
        """Rate at `update` (>= 0) as a fraction of the initial rate; needs no Trainer.

        With a warm-up of w updates from ηs to 1, η(t) = ηs + (1 - ηs) t/w up to w (Goyal et al., "Accurate, Large
        Minibatch SGD: Training ImageNet in 1 Hour", 2017). total_updates: of the whole run; None where it has no end.
        """
        if update < self.warmup_updates:
            return self.warmup_start + (1.0 - self.warmup_start) * update / self.warmup_updates
        return float(self.decay(update, total_updates))

    def state_dict(self) -> dict[str, Any]:
        return {"total_updates": self.total_updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._planned = state_dict["total_updates"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a run in which something else steers the rates too."""
        callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
        names = [type(callback).__name__ for callback in callbacks if isinstance(callback, Schedule)]
        names += [type(config.scheduler).__name__ for config in trainer.lr_scheduler_configs]
        if len(names) > 1:
            raise InputError(f"schedule: {', '.join(names)} would each set the learning rate; keep one")
        if not pl_module.automatic_optimization and (type(self).__name__ != "Constant" or self.warmup_updates):
            raise InputError(f"schedule: {type(pl_module).__name__} optimises by itself; give schedule=constant")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.total_updates = _total_updates(trainer, self.interval)
        self.curve(self.warmup_updates, self.total_updates)  # raises where it needs an end that is not known
        if trainer.is_global_zero:
            self._warn(trainer)
        self._update_in_force = self._planned = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        update = self._update(trainer)
        if update == self._update_in_force:
            return
        self._update_in_force = update
        scale = self.curve(update, self.total_updates)
        for group in _groups(trainer) if pl_module.automatic_optimization else ():  # else they are its own
            group["lr"] = _initial_rate(group) * scale
        every_n_steps: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # 0: no logging by steps
        by_batch = every_n_steps > 0 and trainer.global_step % every_n_steps == 0
        if trainer.is_global_zero and (batch_idx == 0 if self.interval == "epoch" else by_batch):
            names = [f"lr/{group.get('name', f'group_{index}')}" for index, group in enumerate(_groups(trainer))]
            rates = [group["lr"] for group in _groups(trainer)]
            found = dict(zip(["lr", *names[1:]], rates, strict=True)) if len(set(rates)) > 1 else {"lr": rates[0]}
            for run_logger in trainer.loggers:
                run_logger.log_metrics(found, step=trainer.global_step)

    def _update(self, trainer: pl.Trainer) -> int:
        return trainer.current_epoch if self.interval == "epoch" else trainer.global_step

    def _warn(self, trainer: pl.Trainer) -> None:
        """Say where the end has moved: not by warnings, which would not repeat it in a sweep's second job."""
        total, planned, update = self.total_updates, self._planned, self._update(trainer)
        unit = "epochs" if self.interval == "epoch" else "optimizer steps"
        if planned not in (None, total) and (scale := self.curve(update, total)) != self.curve(update, planned):
            text = "schedule: planned for %d %s, now %s: the rate goes on at %.3g, where it was %.3g"
            first = _groups(trainer)[0]
            logger.warning(text, planned, unit, total, _initial_rate(first) * scale, first["lr"])


def _total_updates(trainer: pl.Trainer, interval: Interval) -> int | None:
    """Number of updates of the whole run; None where it has no end, or none that is known beforehand."""
    limit: int = getattr(trainer, "step_limit", trainer.max_steps)  # which a Trainer of this package keeps to itself
    max_epochs, max_steps = (math.inf if end in (None, -1) else end for end in (trainer.max_epochs, limit))
    batches = trainer.num_training_batches
    if batches == math.inf:  # as many as an iterable gives
        end = max_epochs if interval == "epoch" else max_steps
    else:
        steps = max(1, math.ceil(batches / trainer.accumulate_grad_batches))  # an epoch
        # What is done counts as it was done: a resumed run may accumulate otherwise.
        batch = trainer.fit_loop.epoch_loop.batch_progress
        epochs: int = trainer.fit_loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        first = trainer.global_step  # of the epoch in progress
        first -= 0 if batch.is_last_batch else batch.current.ready // trainer.accumulate_grad_batches
        by_batch = min(first + (max_epochs - epochs) * steps, max_steps)
        end = min(max_epochs, epochs + (max_steps - first) / steps) if interval == "epoch" else by_batch
    return None if end == math.inf else math.ceil(end)


def _groups(trainer: pl.Trainer) -> list[dict[str, Any]]:
    return [group for optimizer in trainer.optimizers for group in optimizer.param_groups]


def _initial_rate(group: dict[str, Any]) -> float:
    """The rate the group was built with, kept in the group under the name that torch's schedulers use."""
    return float(group.setdefault("initial_lr", float(group["lr"])))
