"""Matrices whose picture is known."""

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from imgclf.pictures.confusion import accuracies, accuracy_picture, confusion_picture, mix_ups
from imgclf.pictures.lettering import BLUE, PAPER, VERMILLION

COUNTS = np.array([[8, 2, 0], [0, 5, 0], [4, 4, 0]])


def has(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    """Pixels of a colour."""
    return int((picture == colour).all(axis=2).sum())


def test_the_accuracy_of_a_class_is_its_share_on_the_diagonal() -> None:
    assert accuracies(COUNTS).tolist() == [0.8, 1.0, 0.0]
    assert np.isnan(accuracies(np.array([[0, 0], [1, 3]]))[0])


def test_mix_ups_come_in_the_order_of_their_number() -> None:
    assert mix_ups(COUNTS, 9) == [(2, 0, 4), (2, 1, 4), (0, 1, 2)]
    assert mix_ups(COUNTS, 1) == [(2, 0, 4)]
    assert mix_ups(np.diag([3, 4]), 5) == []


def test_what_is_always_right_is_blue_and_what_is_always_wrong_orange() -> None:
    right, wrong = confusion_picture(np.diag([5, 5]), "ab"), confusion_picture(np.array([[0, 5], [5, 0]]), "ab")
    assert has(right, BLUE) > 2 * 800
    assert has(right, VERMILLION) == 0
    assert has(wrong, VERMILLION) > 2 * 800
    assert has(wrong, BLUE) == 0


def test_bars_are_as_long_as_the_accuracies() -> None:
    def blue(counts: list[list[int]]) -> int:
        return has(accuracy_picture(np.array(counts), "ab"), BLUE)

    half, whole = blue([[1, 1], [0, 0]]), blue([[2, 0], [0, 0]])  # a class without images has no bar
    assert whole == 2 * half > 0
    assert blue([[2, 0], [0, 7]]) == 2 * whole


@pytest.mark.parametrize("count", [1, 2, 10, 20, 21, 100, 1000])
def test_any_number_of_classes_fits_a_page(count: int) -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 3, (count, count)) + np.diag(rng.integers(0, 90, count))
    names = [f"a class with a rather long name, number {i}" for i in range(count)]
    for picture in (confusion_picture(counts, names), accuracy_picture(counts, names)):
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        assert 60 < picture.shape[0] < 1300
        assert 80 < picture.shape[1] < 1300
        assert 0.02 < (picture != PAPER).any(axis=2).mean() < 0.98


def test_of_many_classes_every_cell_still_shows() -> None:
    counts = np.zeros((100, 100), dtype=int)
    counts[7, 93] = 1
    picture = confusion_picture(counts, [str(i) for i in range(100)])
    rows, columns = np.nonzero((picture == VERMILLION).all(axis=2))
    matrix = columns < 760  # the list of mistakes, to its right, has that colour too
    assert matrix.sum() == 49  # 7 x 7 pixels
    assert 93 < columns[matrix].min() / 7 < 93 + 8
    assert rows[matrix].min() < 150


def test_no_image_at_all_is_drawn_too() -> None:
    nothing = np.zeros((3, 3), dtype=int)
    assert has(confusion_picture(nothing, "abc"), BLUE) == has(accuracy_picture(nothing, "abc"), BLUE) == 0


def test_drawing_takes_milliseconds() -> None:
    counts = np.random.default_rng(0).integers(0, 100, (10, 10))
    confusion_picture(counts, "abcdefghij")  # the font is read
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        confusion_picture(counts, "abcdefghij")
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 0.2, seconds  # matplotlib takes half a second
