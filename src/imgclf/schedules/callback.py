"""The learning-rate schedules: a Lightning callback for each curve of curves.py.

Their arguments are the keys of conf/schedule/<name>.yaml. What all have in common (interval, warm-up,
logging, resuming) is explained in base.py. Rates here are fractions of the initial rate: a cosine from 0.3 to
0.01 is optimizer.lr=0.3 with schedule.final_fraction=0.0333.

To add a schedule, add its curve to curves.py and a subclass of Schedule here, with `decay`.
"""

from abc import ABC
from collections.abc import Sequence
from typing import Any

from imgclf.errors import InputError
from imgclf.schedules import curves
from imgclf.schedules.base import Interval, Schedule, fraction, is_number, is_whole_number, whole_number

__all__ = ["Constant", "Cosine", "Factor", "MultiStep", "Polynomial", "Schedule", "SquareRoot", "Step"]


class Constant(Schedule):
    """The initial rate throughout, after a warm-up if there is one. Arguments: see Schedule."""

    def decay(self, update: int, total_updates: int | None) -> float:
        return curves.constant(update, base_rate=1.0)


class SquareRoot(Schedule):
    """1 / √(t + 1), with t counted from the end of the warm-up. Arguments: see Schedule."""

    def decay(self, update: int, total_updates: int | None) -> float:
        return curves.square_root(update - self.warmup_updates, base_rate=1.0)


class Factor(Schedule):
    """Times `factor` at every update after the warm-up, down to a floor.

    factor: in (0, 1]. min_fraction: the floor, from 0 to 1. Others: see Schedule.
    """

    def __init__(
        self,
        *,
        factor: float,
        min_fraction: float,
        interval: Interval = "epoch",
        warmup_updates: int = 0,
        warmup_start: float = 0.0,
    ) -> None:
        super().__init__(interval=interval, warmup_updates=warmup_updates, warmup_start=warmup_start)
        self.factor = _decay_factor(factor)
        self.min_fraction = fraction("min_fraction", min_fraction, "the floor over the initial rate")

    def decay(self, update: int, total_updates: int | None) -> float:
        since_warmup = update - self.warmup_updates
        return curves.factor(since_warmup, base_rate=1.0, factor=self.factor, min_rate=self.min_fraction)


class MultiStep(Schedule):
    """Times `factor` at every milestone.

    milestones: ascending updates, counted from the start of the run, all of them after the warm-up.
    factor: in (0, 1]. Others: see Schedule.
    """

    def __init__(
        self,
        *,
        milestones: Sequence[int],
        factor: float,
        interval: Interval = "epoch",
        warmup_updates: int = 0,
        warmup_start: float = 0.0,
    ) -> None:
        super().__init__(interval=interval, warmup_updates=warmup_updates, warmup_start=warmup_start)
        self.milestones = _ascending_updates(milestones, self.warmup_updates)
        self.factor = _decay_factor(factor)

    def decay(self, update: int, total_updates: int | None) -> float:
        return curves.multi_step(update, base_rate=1.0, milestones=self.milestones, factor=self.factor)

    def overruns(self, total_updates: int | None) -> list[str]:
        words = super().overruns(total_updates)
        if total_updates is None:
            return words
        late = ", ".join(str(milestone) for milestone in self.milestones if milestone >= total_updates)
        if late:
            words.append(f"it never comes to {late} of schedule.milestones={list(self.milestones)}")
        return words


class Step(Schedule):
    """Times `factor` after every `period` updates, counted from the end of the warm-up.

    period: in updates, at least 1. factor: in (0, 1]. Others: see Schedule.
    """

    def __init__(
        self,
        *,
        period: int,
        factor: float,
        interval: Interval = "epoch",
        warmup_updates: int = 0,
        warmup_start: float = 0.0,
    ) -> None:
        super().__init__(interval=interval, warmup_updates=warmup_updates, warmup_start=warmup_start)
        self.period = whole_number("period", period, 1, "the updates from one drop to the next")
        self.factor = _decay_factor(factor)

    def decay(self, update: int, total_updates: int | None) -> float:
        since_warmup = update - self.warmup_updates
        return curves.step(since_warmup, base_rate=1.0, period=self.period, factor=self.factor)


class _DecayToAnEnd(Schedule, ABC):
    """A schedule that takes its final value at update max_updates of the run; None: at the run's end."""

    def __init__(
        self, *, max_updates: int | None, interval: Interval, warmup_updates: int, warmup_start: float
    ) -> None:
        super().__init__(interval=interval, warmup_updates=warmup_updates, warmup_start=warmup_start)
        self.max_updates = max_updates
        if max_updates is None:
            return
        whole_number("max_updates", max_updates, 1, "where the decay ends (null: at the run's end)")
        if max_updates <= self.warmup_updates:
            raise InputError(
                f"schedule.max_updates={max_updates}: counted from the start of the run, the decay would end"
                f" in the warm-up; give more than schedule.warmup_updates={self.warmup_updates}, or null"
            )

    def decay_updates(self, total_updates: int | None) -> int:
        """Updates from the end of the warm-up to that of the decay; <= 0 if the warm-up fills the run.

        Raises InputError where the end of the run is wanted and the run has none.
        """
        end = total_updates if self.max_updates is None else self.max_updates
        if end is None:
            raise InputError(
                "schedule.max_updates=null means the whole run, but this run has no number of updates known"
                f" beforehand (interval {self.interval}); set schedule.max_updates, or trainer.max_epochs"
            )
        return end - self.warmup_updates

    def overruns(self, total_updates: int | None) -> list[str]:
        self.decay_updates(total_updates)
        words = super().overruns(total_updates)
        if total_updates is not None and self.max_updates is not None and self.max_updates > total_updates:
            last = self.curve(total_updates - 1, total_updates)
            words.append(f"the decay (schedule.max_updates={self.max_updates}) stops at {last:.3g} of the initial rate")
        return words


class Cosine(_DecayToAnEnd):
    """Half a cosine wave from the initial rate to a final one, which then stays.

    final_fraction: the final rate, from 0 to 1. max_updates: the update at which it is reached, counted
    from the start of the run; None for the end of the run. Others: see Schedule.
    """

    def __init__(
        self,
        *,
        final_fraction: float,
        max_updates: int | None = None,
        interval: Interval = "epoch",
        warmup_updates: int = 0,
        warmup_start: float = 0.0,
    ) -> None:
        super().__init__(
            max_updates=max_updates,
            interval=interval,
            warmup_updates=warmup_updates,
            warmup_start=warmup_start,
        )
        self.final_fraction = fraction("final_fraction", final_fraction, "the final rate over the initial one")

    def decay(self, update: int, total_updates: int | None) -> float:
        return curves.cosine(
            update - self.warmup_updates,
            base_rate=1.0,
            final_rate=self.final_fraction,
            max_updates=self.decay_updates(total_updates),
        )


class Polynomial(_DecayToAnEnd):
    """(1 - t/T)^power down to 0, which then stays; t and T counted from the end of the warm-up.

    power: above 0; 1 is a straight line. max_updates: the update at which 0 is reached, counted from the
    start of the run; None for the end of the run. Others: see Schedule.
    """

    def __init__(
        self,
        *,
        power: float,
        max_updates: int | None = None,
        interval: Interval = "epoch",
        warmup_updates: int = 0,
        warmup_start: float = 0.0,
    ) -> None:
        super().__init__(
            max_updates=max_updates,
            interval=interval,
            warmup_updates=warmup_updates,
            warmup_start=warmup_start,
        )
        if not is_number(power) or power <= 0:
            raise InputError(f"schedule.power={power!r}: the exponent of the decay; give a number above 0")
        self.power = float(power)

    def decay(self, update: int, total_updates: int | None) -> float:
        return curves.polynomial(
            update - self.warmup_updates,
            base_rate=1.0,
            power=self.power,
            max_updates=self.decay_updates(total_updates),
        )


def _decay_factor(value: Any) -> float:
    return fraction("factor", value, "what multiplies the rate", above_zero=True)


def _ascending_updates(milestones: Any, warmup_updates: int) -> tuple[int, ...]:
    if isinstance(milestones, str) or not isinstance(milestones, Sequence):
        raise InputError(f"schedule.milestones={milestones!r}: give a list of updates, such as [15,30]")
    updates = list(milestones)
    given = f"schedule.milestones={updates}"
    if not all(is_whole_number(update) and update >= 1 for update in updates):
        raise InputError(f"{given}: where the rate drops; give whole numbers, each at least 1")
    if updates != sorted(set(updates)):
        raise InputError(f"{given}: where the rate drops; give the updates in ascending order, each once")
    if updates and updates[0] <= warmup_updates:
        raise InputError(
            f"{given}: counted from the start of the run, {updates[0]} lies in the warm-up; give only updates"
            f" after schedule.warmup_updates={warmup_updates}"
        )
    return tuple(updates)
