"""Learning-rate curves: pure functions from the number of an update to a learning rate.

Legend: update t is a whole number >= 0, where 0 is the first of the run; whether it counts epochs or
optimizer steps is the caller's choice. A rate is a float >= 0. base_rate η0 is the rate at t = 0; T is
max_updates.

Every curve is proportional to its rates: with base_rate 1 it gives fractions of an initial rate. The
functions check nothing; the callbacks of this package refuse what makes no sense.

Source, where none is named: Zhang, Lipton, Li, Smola, "Dive into Deep Learning", chapter "Learning Rate
Scheduling".
"""

import math
from bisect import bisect_right
from collections.abc import Sequence


def constant(update: int, *, base_rate: float) -> float:
    """η(t) = η0."""
    return base_rate


def square_root(update: int, *, base_rate: float) -> float:
    """η(t) = η0 (t + 1)^(-1/2): the decay of the convergence proofs for stochastic gradient descent.

    Source: the chapter; Zinkevich, "Online Convex Programming and Generalized Infinitesimal Gradient Ascent",
    2003.
    """
    return base_rate / math.sqrt(update + 1)


def factor(update: int, *, base_rate: float, factor: float, min_rate: float) -> float:
    """η(t) = max(ηmin, η0 α^t), with α = factor in (0, 1].

    This is the chapter's recursion η(t+1) = max(ηmin, η(t) α), solved; they agree where η0 >= ηmin.
    """
    return max(min_rate, base_rate * factor**update)


def multi_step(update: int, *, base_rate: float, milestones: Sequence[int], factor: float) -> float:
    """η(t) = η0 α^k, where k counts the milestones s <= t: piecewise constant, lower from each milestone on.

    milestones: ascending updates.
    """
    return base_rate * factor ** bisect_right(milestones, update)


def step(update: int, *, base_rate: float, period: int, factor: float) -> float:
    """η(t) = η0 γ^floor(t / period): times γ = factor after every `period` updates.

    Source: the same book, "Image Classification (CIFAR-10) on Kaggle" (lr_period 4, lr_decay 0.9).
    """
    return float(base_rate * factor ** (update // period))


def polynomial(update: int, *, base_rate: float, power: float, max_updates: int) -> float:
    """η(t) = η0 (1 - t/T)^p up to T, 0 from T on; p = power > 0.

    Source: an exercise of the chapter; Chen et al., "DeepLab", 2016 (p = 0.9).
    """
    if update >= max_updates:
        return 0.0
    return float(base_rate * (1 - update / max_updates) ** power)


def cosine(update: int, *, base_rate: float, final_rate: float, max_updates: int) -> float:
    """η(t) = ηT + (η0 - ηT)/2 (1 + cos(πt/T)) up to T, ηT = final_rate from T on.

    Source: the chapter; Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016.
    """
    if update >= max_updates:
        return final_rate
    # The same formula as a weighted mean, which is η0 to the last bit at t = 0.
    weight = (1 + math.cos(math.pi * update / max_updates)) / 2
    return base_rate * weight + final_rate * (1 - weight)


def warmup(update: int, *, warmup_updates: int, start_rate: float, base_rate: float) -> float:
    """η(t) = ηs + (η0 - ηs) t/w up to w = warmup_updates, η0 from w on; ηs = start_rate. w = 0: η0 at once.

    Source: the chapter; Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017.
    """
    if update >= warmup_updates:
        return base_rate
    return start_rate + (base_rate - start_rate) * update / warmup_updates
