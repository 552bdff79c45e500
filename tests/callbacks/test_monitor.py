"""Curves within an epoch, worked out by hand; planned rates, weights."""

import math
from typing import Any

import pytest
from torch import nn

from imgclf.callbacks.monitor import Histograms, PlannedRate, StepScalars


def loss(label: int, logits: list[int]) -> float:
    """Cross-entropy of one image."""
    return math.log(sum(math.exp(logit) for logit in logits)) - logits[label]


ROWS = [[9, 0, 0], [9, 0, 0], [0, 3, 0], [0, 9, 0], [0, 9, 0], [5, 0, 0], [0, 1, 0]]
LABELS = [0, 0, 0, 1, 1, 2, 2]
LOSSES = [loss(label, row) for label, row in zip(LABELS, ROWS, strict=True)]


@pytest.fixture
def lesson(told: Any) -> Any:
    """Seven training images in their order, in batches of two; their logits are those of the validation images."""
    told.stored.images[:7] = told.stored.images[7:]
    told.batch_size, told.shuffle = 2, False
    return told


@pytest.mark.parametrize(
    ("trainer", "losses", "accuracies"),
    [
        # Epochs do not mix: steps 0 to 2; the fourth step, with image 6, is half a stretch.
        ({"log_every_n_steps": 3, "max_epochs": 2}, {2: LOSSES[:6], 6: LOSSES[:6]}, {2: 4 / 6, 6: 4 / 6}),
        # Accumulated batches are one step.
        ({"log_every_n_steps": 1, "accumulate_grad_batches": 2}, {0: LOSSES[:4], 1: LOSSES[4:]}, {0: 3 / 4, 1: 1 / 3}),
    ],
)
def test_each_point_is_the_mean_since_the_point_before(
    fit: Any, lesson: Any, trainer: dict[str, int], losses: dict[int, list[float]], accuracies: dict[int, float]
) -> None:
    board = fit(lesson, StepScalars(), gradient_clip_val=1e-9, **trainer)
    assert all(norm > 1e-3 for _, norm in board.scalars("gradient/norm")), "before clipping"
    means = {step: sum(several) / len(several) for step, several in losses.items()}
    assert dict(board.scalars("train/loss_step")) == pytest.approx(means, rel=1e-5)
    assert dict(board.scalars("train/acc_step")) == pytest.approx(accuracies, rel=1e-5)


def test_the_planned_rate_is_what_the_run_then_does_in_so_many_points(fit: Any, told: Any) -> None:
    board = fit(told, PlannedRate(points=200), lr=0.25, max_epochs=3)
    assert board.scalars("lr/planned") == board.scalars("lr") == [(0, 0.25), (2, 0.25), (4, 0.25)]
    planned = fit(told, PlannedRate(points=5), max_epochs=101, limit_train_batches=0.5).scalars("lr/planned")
    assert [step for step, _ in planned][3:] == [0, 25, 50, 75, 100], "after those of the first run"


def test_histograms_hold_every_weight_and_gradient(fit: Any, told: Any) -> None:
    linear = nn.Linear(64, 3)
    board = fit(told, Histograms(bins=4, every_n_epochs=2), net=nn.Sequential(nn.Flatten(), linear), max_epochs=3)
    assert set(board.tags["histograms"]) == {f"{a}/1.{b}" for a in ("weights", "gradients") for b in ("weight", "bias")}
    found = board.events.Histograms("weights/1.weight")
    assert [event.step for event in found] == [3, 5]  # the last steps of the second epoch and of the last
    weights, histogram = linear.weight.detach(), found[-1].histogram_value
    assert histogram.num == sum(histogram.bucket) == 3 * 64
    assert (histogram.min, histogram.max) == pytest.approx((float(weights.min()), float(weights.max())))
