"""Curves within an epoch, worked out by hand; what is written once: text, planned rates; weights."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from imgclf.callbacks.monitor import Histograms, Memory, PlannedRate, RunText, StepScalars
from imgclf.run_folder import RunFolder, write_whole


def loss(label: int, logits: list[int]) -> float:
    """Cross-entropy of one image."""
    return math.log(sum(math.exp(logit) for logit in logits)) - logits[label]


def slope(label: int, logits: list[int]) -> float:
    """Derivative of the loss by the only parameter, the scale s = 255 that logits = s * pixels have in common."""
    total = sum(math.exp(logit) for logit in logits)
    return sum(math.exp(logit) / total * logit for logit in logits) / 255 - logits[label] / 255


ROWS = [[9, 0, 0], [9, 0, 0], [0, 3, 0], [0, 9, 0], [0, 9, 0], [5, 0, 0], [0, 1, 0]]
LABELS = [0, 0, 0, 1, 1, 2, 2]
LOSSES = [loss(label, row) for label, row in zip(LABELS, ROWS, strict=True)]
SLOPES = [slope(label, row) for label, row in zip(LABELS, ROWS, strict=True)]


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
        (
            {"log_every_n_steps": 3, "max_epochs": 2},
            [(2, np.mean(LOSSES[:6])), (6, np.mean(LOSSES[:6]))],
            [(2, 4 / 6), (6, 4 / 6)],
        ),
        ({"log_every_n_steps": 2}, [(1, np.mean(LOSSES[:4])), (3, np.mean(LOSSES[4:]))], [(1, 3 / 4), (3, 1 / 3)]),
        # Accumulated batches are one step.
        (
            {"log_every_n_steps": 1, "accumulate_grad_batches": 2},
            [(0, np.mean(LOSSES[:4])), (1, np.mean(LOSSES[4:]))],
            [(0, 3 / 4), (1, 1 / 3)],
        ),
    ],
)
def test_each_point_is_the_mean_since_the_point_before(
    fit: Any, lesson: Any, trainer: dict[str, int], losses: list[Any], accuracies: list[Any]
) -> None:
    board = fit(lesson, StepScalars(), **trainer)
    for name, points in (("loss", losses), ("acc", accuracies)):
        assert board.scalars(f"train/{name}_step") == [(step, pytest.approx(y, rel=1e-5)) for step, y in points]


def test_the_norm_is_the_gradients_before_clipping(fit: Any, lesson: Any) -> None:
    board = fit(lesson, StepScalars(), log_every_n_steps=3, gradient_clip_val=1e-9)
    third, last = abs(np.mean(SLOPES[4:6])), abs(SLOPES[6])
    assert board.scalars("gradient/norm") == [(2, pytest.approx(third, rel=1e-5)), (3, pytest.approx(last, rel=1e-5))]


def test_logging_by_steps_can_be_switched_off(fit: Any, lesson: Any) -> None:
    board = fit(lesson, StepScalars(), log_every_n_steps=0)
    assert "train/loss_step" not in board.tags["scalars"]
    assert [step for step, _ in board.scalars("gradient/norm")] == [3]  # the epoch's last


def test_the_command_the_configuration_and_where_it_came_from_are_text(fit: Any, told: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_whole(folder.config_file, "model:\n  dropout: 0.5\n")
    write_whole(folder.overrides_file, json.dumps(["model.dropout=0.5", "model.hidden_sizes=[1, 2]"]))
    folder.write_run(git={"commit": "abc"})
    board = fit(told, RunText())
    assert board.text("run/command") == "    uv run scripts/train.py model.dropout=0.5 'model.hidden_sizes=[1, 2]'"
    assert board.text("run/configuration") == "    model:\n      dropout: 0.5\n"
    assert '"commit": "abc"' in board.text("run/provenance")


def test_the_planned_rate_is_what_the_run_then_does(fit: Any, told: Any) -> None:
    board = fit(told, PlannedRate(points=200), lr=0.25, max_epochs=3)
    assert board.scalars("lr/planned") == board.scalars("lr") == [(0, 0.25), (2, 0.25), (4, 0.25)]


def test_a_long_plan_has_so_many_points_with_the_first_and_the_last(fit: Any, told: Any) -> None:
    planned = fit(told, PlannedRate(points=5), max_epochs=101, limit_train_batches=0.5).scalars("lr/planned")
    assert [step for step, _ in planned] == [0, 25, 50, 75, 100]


def test_a_run_without_an_end_has_no_plan(fit: Any, told: Any) -> None:
    assert "lr/planned" not in fit(told, PlannedRate(points=5), max_epochs=-1, max_time="00:00:00:01").tags["scalars"]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this system does not tell a process's memory")
def test_memory_is_that_of_the_process(fit: Any, told: Any) -> None:
    ballast = np.ones(300 * 2**20, dtype=np.uint8)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20  # with the pages of files
    ((step, measured),) = fit(told, Memory()).scalars("memory/process_MB")
    assert step == 1
    assert len(ballast) / 2**20 < measured < resident + 100


def test_histograms_hold_every_weight_and_gradient(fit: Any, told: Any) -> None:
    linear = nn.Linear(64, 3)
    board = fit(told, Histograms(bins=4, every_n_epochs=2), net=nn.Sequential(nn.Flatten(), linear), max_epochs=3)
    assert set(board.tags["histograms"]) == {f"{a}/1.{b}" for a in ("weights", "gradients") for b in ("weight", "bias")}
    found = board.events.Histograms("weights/1.weight")
    assert [event.step for event in found] == [3, 5]  # the last steps of the second epoch and of the last
    weights, histogram = linear.weight.detach(), found[-1].histogram_value
    assert histogram.num == sum(histogram.bucket) == 3 * 64
    assert (histogram.min, histogram.max) == pytest.approx((float(weights.min()), float(weights.max())))


def test_weights_that_are_no_numbers_are_counted(fit: Any, told: Any) -> None:
    linear = nn.Linear(64, 3)
    with torch.no_grad():
        linear.bias[1], linear.bias[2] = float("inf"), float("nan")
    net = nn.Sequential(nn.Flatten(), linear)
    board = fit(told, Histograms(bins=4, every_n_epochs=1), net=net, limit_train_batches=1)
    assert board.scalars("not_finite/weights/1.bias") == [(0, 2.0)]
    assert board.events.Histograms("weights/1.bias")[0].histogram_value.num == 1
