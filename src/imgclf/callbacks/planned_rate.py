"""The whole curve of the learning rate, before training begins."""

import math

from pytorch_lightning import Callback, LightningModule, Trainer

from imgclf.callbacks.board import log_scalars, pages
from imgclf.errors import InputError
from imgclf.schedules.callback import Schedule


class PlannedRate(Callback):
    """The rates that the schedule is going to set, as the curve ``lr/planned`` beside ``lr``.

    A run without an end, or without a schedule, has no such curve.

    Args:
        points: of the curve at most, equally far apart.

    Raises:
        InputError: fewer than two points.
    """

    def __init__(self, points: int) -> None:
        if points < 2:
            raise InputError(f"callbacks.planned_rate.points must be at least 2, got {points}")
        self.points = points

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        schedule = schedule_of(trainer)
        if not pages(trainer) or schedule is None:
            return
        steps_per_update = 1 if schedule.interval == "batch" else _steps_per_epoch(trainer)
        for update, rate in planned_rates(schedule, trainer, self.points).items():
            # What comes before the step at which a run is resumed has been written already.
            if update * steps_per_update >= trainer.global_step:
                log_scalars(trainer, {"lr/planned": rate}, update * steps_per_update)


def schedule_of(trainer: Trainer) -> Schedule | None:
    """The schedule among the callbacks."""
    return next((c for c in trainer.callbacks if isinstance(c, Schedule)), None)  # type: ignore[attr-defined]


def planned_rates(schedule: Schedule, trainer: Trainer, points: int) -> dict[int, float]:
    """The first parameter group's rate by update, at most at ``points`` of them; empty where the run has no end."""
    total = schedule.total_updates
    if total is None:
        return {}
    updates = sorted({round(i * (total - 1) / (points - 1)) for i in range(points)})
    return {update: schedule.initial_rate(trainer) * schedule.curve(update, total) for update in updates}


def _steps_per_epoch(trainer: Trainer) -> int:
    return math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
