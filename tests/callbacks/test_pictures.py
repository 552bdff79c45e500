"""Pictures of a network whose predictions are known."""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Door
from numpy.typing import NDArray
from run_files import Board
from torch import Tensor, nn

from imgclf.callbacks.drawing import INK, accuracy_picture, confusion_picture, contact_sheet, mix_ups
from imgclf.callbacks.pictures import Confusion, Inputs, Mistakes
from imgclf.figures.curves import BLUE, VERMILLION
from imgclf.models.classifier import Classifier

KNOWN = np.array([[2, 1, 0], [0, 2, 0], [1, 1, 0]])  # of the validation of `told`
NAMES = ["class 0", "class 1", "class 2"]


def has(picture: NDArray[np.uint8], colour: str) -> int:
    """Pixels of a colour, #rrggbb."""
    return int((picture == tuple(bytes.fromhex(colour[1:]))).all(axis=2).sum())


def test_mix_ups_come_in_the_order_of_their_number() -> None:
    assert mix_ups(np.array([[8, 2, 0], [0, 5, 0], [4, 5, 0]])) == [(5, 2, 1), (4, 2, 0), (2, 0, 1)]


def test_bars_are_as_long_as_the_accuracies_and_a_class_without_images_has_none() -> None:
    half, whole = (
        has(accuracy_picture(np.array(counts), "ab"), BLUE) for counts in ([[1, 1], [0, 0]], [[2, 0], [0, 0]])
    )
    assert whole == pytest.approx(2 * half, rel=0.1)
    assert has(accuracy_picture(np.array([[2, 0], [0, 7]]), "ab"), BLUE) == pytest.approx(2 * whole, rel=0.1)


@pytest.mark.parametrize(
    ("count", "name"),
    [(1, "$x_{}$"), (2, "кошка {}"), (20, "a class with a rather long name, {}"), (21, "$"), (1000, "class {}")],
)
def test_any_number_of_classes_of_any_name_fits_a_page(count: int, name: str) -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 3, (count, count)) + np.diag(rng.integers(0, 90, count))
    for picture in (
        confusion_picture(counts, [name.format(i) for i in range(count)]),
        accuracy_picture(0 * counts, "$"),
    ):
        assert picture.dtype == np.uint8
        assert max(picture.shape) < 1500
        assert 0.01 < (picture != 255).any(axis=2).mean() < 0.98


def test_of_many_classes_every_cell_still_shows() -> None:
    counts = np.zeros((100, 100), dtype=int)
    counts[7, 93] = 1
    picture = confusion_picture(counts, [str(i) for i in range(100)])
    rows, columns = np.nonzero((picture == tuple(bytes.fromhex(VERMILLION[1:]))).all(axis=2))
    assert len(rows) == pytest.approx(7.2 * 7.2, abs=15)  # pixels, at the end of the upper rows
    assert rows.max() < 120
    assert columns.min() > 600


def test_letters_beyond_ascii_are_drawn_as_themselves_and_long_lines_are_cut() -> None:
    images = np.zeros((2, 28, 28, 3), dtype=np.uint8)

    def caption(text: str) -> NDArray[np.uint8]:
        return contact_sheet(images, [[(text, VERMILLION)], [("", INK)]], columns=2, title="")

    boxes = {caption(letter).tobytes() for letter in "\U0010fffd\U0010fffe"}  # letters that no font has
    letters = {caption(letter).tobytes() for letter in "äшλžß"}
    assert len(boxes) == 1
    assert len(letters) == 5
    assert not letters & boxes
    long = caption("a very long name of a class " * 3)
    assert np.nonzero((long == tuple(bytes.fromhex(VERMILLION[1:]))).all(axis=2))[1].max() < long.shape[1] // 2


@pytest.mark.parametrize(("side", "shown"), [(1, 84), (32, 96), (224, 168)])
def test_every_image_is_there_at_a_size_that_can_be_judged_and_in_its_row(side: int, shown: int) -> None:
    colours = ["#c80a0a", "#0ac80a", "#0a0ac8"]
    images = np.array([list(bytes.fromhex(colour[1:])) for colour in colours], dtype=np.uint8)
    images = images[:, None, None].repeat(side, axis=1).repeat(side, axis=2)
    picture = contact_sheet(images, [[("name", INK)]] * 3, columns=2, title="three")
    assert [has(picture, colour) for colour in colours] == [shown * shown] * 3
    first, second, third = (np.argwhere((picture == image[0, 0]).all(axis=2)).min(axis=0) for image in images)
    assert first[0] == second[0] < third[0]
    assert first[1] == third[1] < second[1]


def test_every_image_is_counted_once_in_each_validation_under_its_names(fit: Any, told: Any) -> None:
    board = fit(told, Confusion(every_n_epochs=1), max_epochs=3, num_sanity_val_steps=1)
    assert np.array_equal(board.image("validation/confusion"), confusion_picture(KNOWN, NAMES))
    assert np.array_equal(board.image("validation/accuracy_by_class"), accuracy_picture(KNOWN, NAMES))
    # at the steps of the curves: two an epoch, from 0
    assert board.image_steps("validation/confusion") == [step for step, _ in board.scalars("val/acc")] == [1, 3, 5]


def test_classes_without_names_have_their_numbers(fit: Any, told: Any) -> None:
    del told.class_names
    board = fit(told, Confusion(every_n_epochs=1))
    assert np.array_equal(board.image("validation/confusion"), confusion_picture(KNOWN, "012"))


@pytest.mark.parametrize(
    ("every", "trainer", "steps"),
    [
        (2, {"max_epochs": 5}, [3, 7, 9]),  # and the last
        # validated after 2, 4, 6 and 8 epochs; due after 3 (so 4), 6, and the last
        (3, {"max_epochs": 8, "check_val_every_n_epoch": 2}, [7, 11, 15]),
        (100, {"max_epochs": 9, "max_steps": 4}, [3]),  # an early end
        (1, {"logger": False}, []),
        (1, {"fast_dev_run": True}, []),
        (1, {"limit_val_batches": 0}, []),
    ],
)
def test_which_validations_are_drawn(
    fit: Any, told: Any, every: int, trainer: dict[str, Any], steps: list[int]
) -> None:
    assert fit(told, Confusion(every_n_epochs=every), **trainer).image_steps("validation/confusion") == steps


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


def probability(lead: int) -> str:
    """Of the class whose logit leads those of two others by so much, in per cent."""
    return f"{100 * math.exp(lead) / (math.exp(lead) + 2):.0f} %"


@pytest.mark.parametrize(("batch", "room"), [(3, 16), (1, 2), (7, 2)])
def test_the_wrong_images_come_surest_first_with_both_names(fit: Any, told: Any, batch: int, room: int) -> None:
    told.eval_batch_size = batch
    board = fit(told, Mistakes(images=room, columns=4, every_n_epochs=1))
    wrong = [(5, 5, 0, 2), (2, 3, 1, 0), (6, 1, 1, 2)][:room]  # number, lead, predicted class, true class
    images = told.stored.images[[7 + number for number, *_ in wrong]].numpy()
    captions = [[(f"{probability(lead)} class {p}", VERMILLION), (f"is class {t}", INK)] for _, lead, p, t in wrong]
    title = f"the {len(wrong)} most confident mistakes"
    expected = contact_sheet(images.transpose(0, 2, 3, 1).repeat(3, axis=3), captions, 4, title)
    assert np.array_equal(board.image("validation/mistakes"), expected)


def test_a_network_without_mistakes_gets_a_title(fit: Any, told: Any) -> None:
    told.stored.labels[7:] = told.stored.images[7:, 0, 0, :3].argmax(dim=1)
    board = fit(told, Mistakes(images=4, columns=4, every_n_epochs=1))
    expected = contact_sheet(np.zeros((0, 8, 8, 3), dtype=np.uint8), [], 4, "no mistakes")
    assert np.array_equal(board.image("validation/mistakes"), expected)


class Diverged(nn.Module):
    """Gives logits that are no numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(math.nan))

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :3] * self.scale


def test_a_network_that_has_diverged_is_drawn_too(fit: Any, told: Any) -> None:
    board = fit(told, Mistakes(4, 4, every_n_epochs=1), Confusion(every_n_epochs=1), net=Diverged())
    assert board.image_steps("validation/mistakes") == board.image_steps("validation/confusion") == [1]


def fed(board: Board, part: str) -> NDArray[np.int64]:
    """Brightness of the pixels of three images in the picture of inputs, (3, 8, 8): 11 times as large, 116 apart."""
    picture = board.image(f"inputs/{part}").astype(int)[41:129, 12:, 0]
    return np.stack([picture[5::11, 116 * i + 5 : 116 * i + 88 : 11] for i in range(3)])


class Inverted:
    """An augmentation that can be seen: black is white."""

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return 255 - images


@pytest.mark.parametrize("normalisation", [([0.3], [0.2]), (None, None)])
def test_images_are_shown_as_the_network_is_fed_them_but_for_the_normalisation(
    fit: Any, told: Any, normalisation: tuple[Any, Any]
) -> None:
    told.augmentations, told.shuffle = [Inverted()], False
    told.stored.images[:7] = told.stored.images[7:]
    told.stored.images[:, 0, 7, 6:] = torch.tensor([0, 255], dtype=torch.uint8)  # so that stretching changes nothing
    if normalisation[0] is not None:
        told.mean, told.std = normalisation
    board = fit(told, Inputs(images=3, columns=4, every_n_epochs=2), max_epochs=4)
    stored = told.stored.images[7:10, 0].numpy().astype(int)
    assert np.abs(fed(board, "validation") - stored).max() <= 1  # rounding
    assert np.abs(fed(board, "train") - (255 - stored)).max() <= 1
    assert board.image_steps("inputs/train") == [0, 4]  # two steps an epoch
    assert board.image_steps("inputs/validation") == [1, 5]


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
