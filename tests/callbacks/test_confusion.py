"""Confusion matrices of a network whose predictions are known."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Door
from run_files import Board

from imgclf.callbacks.confusion import Confusion
from imgclf.errors import InputError
from imgclf.models.classifier import Classifier
from imgclf.pictures.confusion import accuracy_picture, confusion_picture

KNOWN = np.array([[2, 1, 0], [0, 2, 0], [1, 1, 0]])
NAMES = ["class 0", "class 1", "class 2"]


def test_every_image_is_counted_once_under_its_names(fit: Any, told: Any) -> None:
    board = fit(told, Confusion(every_n_epochs=1))
    assert np.array_equal(board.image("validation/confusion"), confusion_picture(KNOWN, NAMES))
    assert np.array_equal(board.image("validation/accuracy_by_class"), accuracy_picture(KNOWN, NAMES))


def test_pictures_stand_at_the_steps_of_the_curves(fit: Any, told: Any) -> None:
    board = fit(told, Confusion(every_n_epochs=1), max_epochs=3)
    steps = [step for step, _ in board.scalars("val/acc")]
    assert steps == board.image_steps("validation/confusion") == [1, 3, 5]  # two steps an epoch, from 0


def test_every_second_epoch_and_the_last_are_drawn(fit: Any, told: Any) -> None:
    assert fit(told, Confusion(every_n_epochs=2), max_epochs=5).image_steps("validation/confusion") == [3, 7, 9]


def test_validating_every_second_epoch_every_third_drawing_falls_on_the_next_validation(fit: Any, told: Any) -> None:
    board = fit(told, Confusion(every_n_epochs=3), max_epochs=8, check_val_every_n_epoch=2)
    # validated after 2, 4, 6 and 8 epochs; due after 3 (so 4), 6, and the last
    assert board.image_steps("validation/confusion") == [7, 11, 15]


def test_an_early_end_is_drawn_too(fit: Any, told: Any) -> None:
    assert fit(told, Confusion(every_n_epochs=100), max_epochs=9, max_steps=4).image_steps("validation/confusion") == [
        3
    ]


def test_each_validation_starts_at_nothing(fit: Any, told: Any) -> None:
    board = fit(told, Confusion(every_n_epochs=1), max_epochs=3)
    assert np.array_equal(board.image("validation/confusion"), confusion_picture(KNOWN, NAMES))


def test_classes_without_names_have_their_numbers(fit: Any, told: Any) -> None:
    del told.class_names
    board = fit(told, Confusion(every_n_epochs=1))
    assert np.array_equal(board.image("validation/confusion"), confusion_picture(KNOWN, ["0", "1", "2"]))


def test_without_validation_or_without_tensorboard_nothing_is_drawn(fit: Any, told: Any) -> None:
    told.fit_on = "train_valid"
    assert fit(told, Confusion(every_n_epochs=1)).tags["images"] == []
    told.fit_on = "train"
    for settings in ({"logger": False}, {"fast_dev_run": True}, {"limit_val_batches": 0}):
        assert fit(told, Confusion(every_n_epochs=1), **settings).tags["images"] == []


def test_a_sanity_check_is_not_a_validation(fit: Any, told: Any) -> None:
    board = fit(told, Confusion(every_n_epochs=1), num_sanity_val_steps=1)
    assert board.image_steps("validation/confusion") == [1]
    assert np.array_equal(board.image("validation/confusion"), confusion_picture(KNOWN, NAMES))


class Silent(Classifier):
    """Keeps its logits to itself, as LightningModules from elsewhere do."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        super().validation_step(batch, batch_idx)


def test_a_module_that_does_not_return_logits_is_named_once_and_trained(
    fit: Any, told: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("imgclf"), "propagate", True)
    board = fit(told, Confusion(every_n_epochs=1), kind=Silent, max_epochs=2)
    said = [r for r in caplog.records if "Confusion draws nothing: it needs the logits" in r.getMessage()]
    assert len({id(record) for record in said}) == 1  # one record, by however many handlers it was taken
    assert board.tags["images"] == []
    assert len(board.scalars("val/acc")) == 2


def test_a_number_below_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"confusion\.every_n_epochs must be at least 1, got 0.*confusion=null"):
        Confusion(every_n_epochs=0)


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
