"""Pictures and curves of a network whose predictions are known, worked out by hand; weights."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from callbacks.conftest import LABELS, ROWS
from conftest import Door
from run_files import Board, assert_same
from torch import nn

from imgclf.callbacks.drawing import INK, accuracy_picture, confusion_picture, contact_sheet
from imgclf.callbacks.monitor import Histograms, StepScalars
from imgclf.callbacks.pictures import Confusion, Mistakes
from imgclf.figures.curves import VERMILLION

KNOWN = np.array([[2, 1, 0], [0, 2, 0], [1, 1, 0]])  # of the validation of `told`
NAMES = ["class 0", "class 1", "class 2"]


@pytest.mark.parametrize(
    ("count", "name"), [(1, "$x_{}$"), (2, "кошка {}"), (20, "a class with a rather long name, {}"), (500, "class {}")]
)
def test_any_number_of_classes_of_any_name_fits_a_page(count: int, name: str) -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 3, (count, count)) + np.diag(rng.integers(0, 90, count))
    names = [name.format(i) for i in range(count)]
    for picture in (confusion_picture(counts, names), accuracy_picture(0 * counts, "$")):
        assert picture.dtype == np.uint8
        assert max(picture.shape) < 1500
        assert 0.01 < (picture != 255).any(axis=2).mean() < 0.98


def test_every_image_is_counted_once_in_each_validation_under_its_names(fit: Any, told: Any) -> None:
    board = fit(told, Confusion(every_n_epochs=1), max_epochs=3, num_sanity_val_steps=1)
    assert np.array_equal(board.image("validation/confusion"), confusion_picture(KNOWN, NAMES))
    assert np.array_equal(board.image("validation/accuracy_by_class"), accuracy_picture(KNOWN, NAMES))
    # at the steps of the curves: two an epoch, from 0
    assert board.image_steps("validation/confusion") == [step for step, _ in board.scalars("val/acc")] == [1, 3, 5]


@pytest.mark.parametrize(
    ("every", "trainer", "steps"),
    [
        (2, {"max_epochs": 5}, [3, 7, 9]),  # and the last
        # validated after 2 and 4 epochs; due after 3 (so 4)
        (3, {"max_epochs": 4, "check_val_every_n_epoch": 2}, [7]),
        (100, {"max_epochs": 9, "max_steps": 4}, [3]),  # an early end
    ],
)
def test_which_are_drawn(fit: Any, told: Any, every: int, trainer: dict[str, Any], steps: list[int]) -> None:
    assert fit(told, Confusion(every_n_epochs=every), **trainer).image_steps("validation/confusion") == steps


@pytest.mark.parametrize(("batch", "room"), [(3, 16), (1, 2)])
def test_the_wrong_images_come_surest_first_with_both_names(fit: Any, told: Any, batch: int, room: int) -> None:
    told.eval_batch_size = batch
    board = fit(told, Mistakes(images=room, every_n_epochs=1))
    wrong = [(5, 5, 0, 2), (2, 3, 1, 0), (6, 1, 1, 2)][:room]  # number, lead, predicted class, true class
    images = told.stored.images[[7 + number for number, *_ in wrong]].numpy()
    shares = [100 * math.exp(lead) / (math.exp(lead) + 2) for _, lead, *_ in wrong]  # two other logits are 0
    captions = [
        [(f"{share:.0f} % class {p}", VERMILLION), (f"is class {t}", INK)]
        for share, (*_, p, t) in zip(shares, wrong, strict=True)
    ]
    title = f"the {len(wrong)} most confident mistakes"
    expected = contact_sheet(images.transpose(0, 2, 3, 1).repeat(3, axis=3), captions, 4, title)
    assert np.array_equal(board.image("validation/mistakes"), expected)


@pytest.mark.slow
def test_two_processes_draw_what_one_draws(door: Door, tmp_path: Path) -> None:
    """Each counts its own images; 1,000 validation images in batches of 300 are shared unequally."""
    settings = ("optimizer.lr=0.0", "trainer.max_epochs=1", "trainer.precision=32-true", "data.eval_batch_size=300")
    door("train.py", *settings, "test=false", "hydra.run.dir=one")
    door("train.py", *settings, "test=false", "trainer=ddp_cpu", "hydra.run.dir=two")
    one, two = Board(tmp_path / "one"), Board(tmp_path / "two")
    assert one.tags["images"] == two.tags["images"]
    for tag in ("validation/confusion", "validation/accuracy_by_class", "validation/mistakes"):
        assert np.array_equal(one.image(tag), two.image(tag)), tag
    assert one.repeatable().keys() == two.repeatable().keys()
    for tag, points in one.repeatable().items():
        assert two.repeatable()[tag] == [(step, pytest.approx(value, rel=1e-4)) for step, value in points], tag


def test_the_very_numbers_come_with_and_without_pictures_and_histograms(door: Door, tmp_path: Path) -> None:
    run = ("debug=fast", "trainer.max_epochs=2", "model.dropout=0.5", "data.augment=pad_crop_flip")
    often = [f"callbacks.{name}.every_n_epochs=1" for name in ("inputs", "confusion", "mistakes")]
    door("train.py", *run, "callbacks=bare", "hydra.run.dir=bare")
    door("train.py", *run, "callbacks=histograms", *often, "hydra.run.dir=shown")
    assert_same(tmp_path / "bare", tmp_path / "shown")
    tags = Board(tmp_path / "shown").tags
    drawn = {f"validation/{x}" for x in ("confusion", "accuracy_by_class", "mistakes")}
    assert drawn | {"inputs/train", "inputs/validation"} == set(tags["images"])
    assert {"weights/1.weight", "gradients/1.weight"} < set(tags["histograms"])
    known = ["memory/process_MB"] * Path("/proc/self/status").exists()  # on Linux
    assert {"lr", "gradient/norm", "train/loss_step", *known} < set(tags["scalars"])


def loss(label: int, logits: list[int]) -> float:
    """Cross-entropy of one image."""
    return math.log(sum(math.exp(logit) for logit in logits)) - logits[label]


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
    fit: Any, lesson: Any, trainer: Any, losses: Any, accuracies: Any
) -> None:
    board = fit(lesson, StepScalars(), gradient_clip_val=1e-9, **trainer)
    assert all(norm > 1e-3 for _, norm in board.scalars("gradient/norm")), "before clipping"
    means = {step: sum(several) / len(several) for step, several in losses.items()}
    assert dict(board.scalars("train/loss_step")) == pytest.approx(means, rel=1e-5)
    assert dict(board.scalars("train/acc_step")) == pytest.approx(accuracies, rel=1e-5)


def test_histograms_hold_every_weight_and_gradient(fit: Any, told: Any) -> None:
    linear = nn.Linear(64, 3)
    board = fit(told, Histograms(every_n_epochs=2), net=nn.Sequential(nn.Flatten(), linear), max_epochs=3)
    assert set(board.tags["histograms"]) == {f"{a}/1.{b}" for a in ("weights", "gradients") for b in ("weight", "bias")}
    found = board.events.Histograms("weights/1.weight")
    assert [event.step for event in found] == [3, 5]  # the last steps of the second epoch and of the last
    weights, histogram = linear.weight.detach(), found[-1].histogram_value
    assert histogram.num == sum(histogram.bucket) == 3 * 64
    assert (histogram.min, histogram.max) == pytest.approx((float(weights.min()), float(weights.max())))
