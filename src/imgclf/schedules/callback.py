"""The learning-rate schedules: a Lightning callback for each curve.

Their arguments are the keys of conf/schedule/<name>.yaml. Rates are fractions of the initial rate η0: a cosine from 0.3
to 0.01 is optimizer.lr=0.3 with schedule.final_fraction=0.0333. In the formulas t counts from the end of the warm-up.

Source, where none is named: Zhang, Lipton, Li, Smola, "Dive into Deep Learning", chapter "Learning Rate Scheduling".
"""

import math
from abc import ABC
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, Literal

from pytorch_lightning import LightningModule, Trainer

from imgclf.errors import InputError
from imgclf.ranges import AtLeast0, AtLeast1, Fraction, FractionAbove0, NumberAbove0
from imgclf.schedules.base import Schedule

__all__ = ["Constant", "Cosine", "Factor", "MultiStep", "Plateau", "Polynomial", "Schedule", "SquareRoot", "Step"]


class Constant(Schedule):
    """η0 throughout, after a warm-up if there is one. Arguments: see Schedule."""

    def decay(self, update: int, total_updates: int | None) -> float:
        return 1.0


class SquareRoot(Schedule):
    """η0 (t + 1)^(-1/2), the decay of the convergence proofs for stochastic gradient descent (Zinkevich, "Online Convex
    Programming and Generalized Infinitesimal Gradient Ascent", 2003). Arguments: see Schedule."""

    def decay(self, update: int, total_updates: int | None) -> float:
        return 1.0 / math.sqrt(update - self.warmup_updates + 1)


class Factor(Schedule):
    """max(ηmin, η0 α^t): the chapter's recursion η(t+1) = max(ηmin, η(t) α), solved.

    factor: α, in (0, 1]. min_fraction: the floor ηmin, from 0 to 1. Others: see Schedule.
    """

    def __init__(self, *, factor: FractionAbove0, min_fraction: Fraction, **common: Any) -> None:
        super().__init__(**common)
        self.factor, self.min_fraction = factor, min_fraction

    def decay(self, update: int, total_updates: int | None) -> float:
        return max(self.min_fraction, self.factor ** (update - self.warmup_updates))


class MultiStep(Schedule):
    """Times `factor` at every milestone: piecewise constant.

    milestones: ascending updates, counted from the start of the run, all of them after the warm-up.
    factor: in (0, 1]. Others: see Schedule.
    """

    def __init__(self, *, milestones: Sequence[AtLeast1], factor: FractionAbove0, **common: Any) -> None:
        super().__init__(**common)
        given = f"schedule.milestones={list(milestones)}"
        if list(milestones) != sorted(set(milestones)):
            raise InputError(f"{given}: where the rate drops; give the updates in ascending order, each once")
        if min(milestones, default=math.inf) <= self.warmup_updates:
            raise InputError(f"{given}: {milestones[0]} lies in the warm-up; give some after {self.warmup_updates}")
        self.milestones, self.factor = tuple(milestones), factor

    def decay(self, update: int, total_updates: int | None) -> float:
        return self.factor ** bisect_right(self.milestones, update)


class Step(Schedule):
    """Times `factor` after every `period` updates: η0 γ^floor(t / period) (the same book, "Image Classification
    (CIFAR-10) on Kaggle": lr_period 4, lr_decay 0.9).

    period: in updates, at least 1. factor: γ, in (0, 1]. Others: see Schedule.
    """

    def __init__(self, *, period: AtLeast1, factor: FractionAbove0, **common: Any) -> None:
        super().__init__(**common)
        self.period, self.factor = period, factor

    def decay(self, update: int, total_updates: int | None) -> float:
        return float(self.factor ** ((update - self.warmup_updates) // self.period))


class Plateau(Schedule):
    """Times `factor` each time that more than `patience` validations, one after the other, brought nothing better.

    monitor: a figure of validation, such as val/loss. mode: "min" where a smaller one is better, else "max". factor: in
    (0, 1]. patience: at least 0; validations of the warm-up count. Others: see Schedule.
    """

    is_planned = False

    def __init__(
        self, *, monitor: str, mode: Literal["min", "max"], factor: FractionAbove0, patience: AtLeast0, **common: Any
    ) -> None:
        super().__init__(**common)
        self.monitor, self.mode, self.factor, self.patience = monitor, mode, factor, patience
        self.best, self.waited, self.drops = math.inf, 0, 0

    def decay(self, update: int, total_updates: int | None) -> float:
        return float(self.factor**self.drops)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loop, every = trainer.fit_loop.epoch_loop, trainer.val_check_batch  # inf: at an epoch's end; None: by the clock
        done = 1 + (loop.total_batch_idx if trainer.check_val_every_n_epoch is None else loop.batch_idx)
        is_due = trainer.is_last_batch if every == math.inf else every is not None and done % every == 0
        # One that comes of max_steps or max_time alone would be missing in a run that goes on.
        is_extra = getattr(trainer, "is_at_limit", False) and not is_due
        if trainer.state.fn != "fit" or trainer.sanity_checking or is_extra:
            return
        if (found := trainer.callback_metrics.get(self.monitor)) is None:
            raise InputError(f"schedule.monitor={self.monitor} is not among {', '.join(trainer.callback_metrics)}")
        score: float = trainer.strategy.broadcast(float(found) * (1 if self.mode == "min" else -1))
        self.waited = 0 if score < self.best else self.waited + 1
        self.best = min(self.best, score)
        if self.waited > self.patience:
            self.drops, self.waited = self.drops + 1, 0
            self._update_in_force = None  # from the next batch on, as in a run that is resumed there

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"best": self.best, "waited": self.waited, "drops": self.drops}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.best, self.waited, self.drops = (state_dict[name] for name in ("best", "waited", "drops"))


class _ToAnEnd(Schedule, ABC):
    """Takes its final value at update max_updates of the run, and keeps it; None: at the run's end."""

    def __init__(self, *, max_updates: AtLeast1 | None = None, **common: Any) -> None:
        super().__init__(**common)
        if max_updates is not None and max_updates <= self.warmup_updates:
            least = f"more than schedule.warmup_updates={self.warmup_updates}"
            raise InputError(f"schedule.max_updates={max_updates}: expected {least}, or null")
        self.max_updates = max_updates

    def progress(self, update: int, total_updates: int | None) -> tuple[int, int]:
        """t and T of the decay, counted from the end of the warm-up; InputError where the run's end is unknown."""
        end = total_updates if self.max_updates is None else self.max_updates
        if end is None:
            raise InputError("schedule.max_updates=null, but this run has no known end: set schedule.max_updates")
        return update - self.warmup_updates, end - self.warmup_updates


class Cosine(_ToAnEnd):
    """ηT + (η0 - ηT)/2 (1 + cos(πt/T)), half a wave from the initial rate to a final one, which then stays (Loshchilov
    and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016).

    final_fraction: ηT, from 0 to 1. max_updates: the update at which it is reached, counted from the start of the run;
    None for the end of the run. Others: see Schedule.
    """

    def __init__(self, *, final_fraction: Fraction, **common: Any) -> None:
        super().__init__(**common)
        self.final_fraction = final_fraction

    def decay(self, update: int, total_updates: int | None) -> float:
        t, end = self.progress(update, total_updates)
        weight = (1 + math.cos(math.pi * t / end)) / 2 if t < end else 0.0
        return weight + self.final_fraction * (1 - weight)  # the formula as a weighted mean, exact at both ends


class Polynomial(_ToAnEnd):
    """η0 (1 - t/T)^p down to 0, which then stays (an exercise of the chapter; Chen et al., "DeepLab", 2016, p = 0.9).

    power: p, above 0; 1 is a straight line. max_updates: T, the update at which 0 is reached, counted from the start of
    the run; None for the end of the run. Others: see Schedule.
    """

    def __init__(self, *, power: NumberAbove0, **common: Any) -> None:
        super().__init__(**common)
        self.power = power

    def decay(self, update: int, total_updates: int | None) -> float:
        t, end = self.progress(update, total_updates)
        return float((1 - t / end) ** self.power) if t < end else 0.0
