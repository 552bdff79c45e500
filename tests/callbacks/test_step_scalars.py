"""Curves within an epoch, worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest

from imgclf.callbacks.step_scalars import StepScalars


def loss(label: int, logits: list[int]) -> float:
    """Cross-entropy of one image."""
    return math.log(sum(math.exp(logit) for logit in logits)) - logits[label]


@pytest.fixture
def lesson(told: Any) -> Any:
    """Seven training images in their order, in batches of two; their logits are those of the validation images."""
    told.stored.images[:7] = told.stored.images[7:]
    told.batch_size, told.shuffle = 2, False
    return told


ROWS = [[9, 0, 0], [9, 0, 0], [0, 3, 0], [0, 9, 0], [0, 9, 0], [5, 0, 0], [0, 1, 0]]
LABELS = [0, 0, 0, 1, 1, 2, 2]
LOSSES = [loss(label, row) for label, row in zip(LABELS, ROWS, strict=True)]


def points(*pairs: tuple[int, float]) -> list[Any]:
    return [(step, pytest.approx(value, rel=1e-5)) for step, value in pairs]


def test_each_point_is_the_mean_since_the_point_before_and_epochs_do_not_mix(fit: Any, lesson: Any) -> None:
    board = fit(lesson, StepScalars(), log_every_n_steps=3, max_epochs=2)
    first = np.mean(LOSSES[:6])  # steps 0 to 2; the fourth step, with image 6, is half a stretch
    assert board.scalars("train/loss_step") == points((2, first), (6, first))
    assert board.scalars("train/acc_step") == points((2, 4 / 6), (6, 4 / 6))


def test_stretches_share_their_epoch_out(fit: Any, lesson: Any) -> None:
    board = fit(lesson, StepScalars(), log_every_n_steps=2)
    assert board.scalars("train/loss_step") == points((1, np.mean(LOSSES[:4])), (3, np.mean(LOSSES[4:])))
    assert board.scalars("train/acc_step") == points((1, 3 / 4), (3, 1 / 3))


def test_accumulated_batches_are_one_step(fit: Any, lesson: Any) -> None:
    board = fit(lesson, StepScalars(), log_every_n_steps=1, accumulate_grad_batches=2)
    assert board.scalars("train/loss_step") == points((0, np.mean(LOSSES[:4])), (1, np.mean(LOSSES[4:])))
    assert [step for step, _ in board.scalars("gradient/norm")] == [0, 1]


def slope(label: int, logits: list[int]) -> float:
    """Derivative of the loss by the only parameter, the scale s = 255 that logits = s * pixels have in common."""
    total = sum(math.exp(logit) for logit in logits)
    return sum(math.exp(logit) / total * logit for logit in logits) / 255 - logits[label] / 255


def test_the_norm_is_the_gradients_before_clipping(fit: Any, lesson: Any) -> None:
    slopes = [slope(label, row) for label, row in zip(LABELS, ROWS, strict=True)]
    board = fit(lesson, StepScalars(), log_every_n_steps=3, gradient_clip_val=1e-9)
    # the third step, and the last of the epoch
    assert board.scalars("gradient/norm") == points((2, abs(np.mean(slopes[4:6]))), (3, abs(slopes[6])))


def test_logging_by_steps_can_be_switched_off(fit: Any, lesson: Any) -> None:
    board = fit(lesson, StepScalars(), log_every_n_steps=0)
    assert "train/loss_step" not in board.tags["scalars"]
    assert [step for step, _ in board.scalars("gradient/norm")] == [3]  # the epoch's last


def test_without_tensorboard_nothing_is_kept(fit: Any, lesson: Any) -> None:
    callback = StepScalars()
    fit(lesson, callback, logger=False)
    assert not callback._sums
    assert not callback._norms
