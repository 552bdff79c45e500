"""Which class was taken for which, and how often each was recognised."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imgclf.pictures.lettering import BLUE, FAINT, INK, LINE, PAPER, SIZE, VERMILLION, Sheet, shortened, width_of

MOST_NUMBERED = 20  # classes whose cells have room for their counts
_CELL = 36  # pixels of such a cell
_WHOLE = 720  # pixels of a matrix without numbers
_SMALLEST_NAMED = 11  # pixels of a cell that a name fits beside
_LONGEST_NAME = 130  # pixels
_GAP = 12
_MIX_UPS = 24  # most frequent ones, named beside a matrix without numbers
_MOST_BARS = 30


def accuracies(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of the images of each class that were recognised, float64 (k,); not a number for a class without images.

    Args:
        counts: int64 (k, k), images by true class (row) and predicted class (column).
    """
    totals = counts.sum(axis=1)
    return np.divide(counts.diagonal(), totals, out=np.full(len(counts), np.nan), where=totals > 0)


def confusion_picture(counts: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.uint8]:
    """The matrix of true classes (rows) and predicted ones (columns): blue is right, orange wrong.

    Up to 20 classes every cell has its count and every class its accuracy; of more, the colours are shown and the most
    frequent mistakes are listed by name.

    Args:
        counts: int64 (k, k), images by true class (row) and predicted class (column).
        names: of the k classes.

    Returns:
        uint8 (height, width, 3).
    """
    return _numbered(counts, names) if len(counts) <= MOST_NUMBERED else _coloured(counts, names)


def accuracy_picture(counts: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.uint8]:
    """A bar for each class, the least recognised first; of more than 30 classes, the worst 30.

    Args:
        counts: int64 (k, k), images by true class (row) and predicted class (column).
        names: of the k classes.

    Returns:
        uint8 (height, width, 3).
    """
    shares, totals = accuracies(counts), counts.sum(axis=1)
    order = [int(c) for c in np.argsort(shares, kind="stable") if totals[c]][:_MOST_BARS]
    seen = int((totals > 0).sum())
    title = f"{_overall(counts)}; images of each class that are recognised"
    title += f", the worst {len(order)} of {seen}" if seen > len(order) else ""
    left = _GAP + max((min(width_of(names[c]), _LONGEST_NAME) for c in order), default=0) + 8
    length = 360
    sheet = Sheet(
        max(left + length + 130, width_of(title) + 2 * _GAP), 2 * _GAP + LINE + (LINE + 5) * len(order) + _GAP
    )
    sheet.write(_GAP, _GAP, title)
    for place, c in enumerate(order):
        y = 2 * _GAP + LINE + place * (LINE + 5)
        sheet.write(left - 8, y + 8, shortened(names[c], _LONGEST_NAME), anchor="rm")
        sheet.bar(left, y, length, LINE, (238, 238, 238))
        sheet.bar(left, y, round(length * shares[c]), LINE, BLUE)
        sheet.write(left + length + 8, y + 8, f"{100 * shares[c]:.1f} %", anchor="lm")
        sheet.write(left + length + 62, y + 8, f"of {totals[c]:,}", FAINT, anchor="lm")
    return sheet.pixels()


def mix_ups(counts: NDArray[np.int64], most: int) -> list[tuple[int, int, int]]:
    """The most frequent mistakes, at most ``most``: true class, predicted class, images."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(int(i) // len(counts), int(i) % len(counts)) for i in order]
    return [(true, predicted, int(wrong[true, predicted])) for true, predicted in pairs if wrong[true, predicted]]


def _overall(counts: NDArray[np.int64]) -> str:
    total = int(counts.sum())
    return f"{100 * np.trace(counts) / total:.2f} % of {total:,} images right" if total else "no images"


def _numbered(counts: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.uint8]:
    k = len(counts)
    shown = [shortened(name, _LONGEST_NAME) for name in names]
    longest = max(width_of(name) for name in shown)
    left, top = _GAP + LINE + longest + 8, 2 * _GAP + 2 * LINE + longest + 8
    title = _overall(counts)
    right = left + k * _CELL + 70
    sheet = Sheet(max(right, width_of(title) + 2 * _GAP), top + k * _CELL + _GAP)
    sheet.write(_GAP, _GAP, title)
    sheet.write(left + k * _CELL / 2, _GAP + LINE + 6, "predicted", FAINT, anchor="ma")
    sheet.write_upwards(_GAP + SIZE // 2, top + k * _CELL // 2 + width_of("true") // 2, "true", FAINT)
    sheet.paste(left, top, _colours(counts).repeat(_CELL, axis=0).repeat(_CELL, axis=1))
    shares, dark = _row_shares(counts), _is_dark(counts)
    per_class = accuracies(counts)
    for row in range(k):
        middle = top + row * _CELL + _CELL // 2
        sheet.write(left - 8, middle, shown[row], anchor="rm")
        sheet.write_upwards(left + row * _CELL + _CELL // 2, top - 6, shown[row])
        recognised = f"{100 * per_class[row]:.1f} %" if not math.isnan(per_class[row]) else "no image"
        sheet.write(left + k * _CELL + 8, middle, recognised, anchor="lm")
        for column in np.flatnonzero(counts[row]):
            colour = PAPER if dark[row, column] else INK
            text = _count(int(counts[row, column]), float(shares[row, column]))
            size = SIZE if width_of(text) < _CELL - 2 else SIZE - 2
            sheet.write(left + column * _CELL + _CELL / 2, middle, text, colour, size, anchor="mm")
    for place in range(1, k):  # thin white lines between the cells
        sheet.bar(left, top + place * _CELL, k * _CELL, 1, PAPER)
        sheet.bar(left + place * _CELL, top, 1, k * _CELL, PAPER)
    return sheet.pixels()


def _count(images: int, share: float) -> str:
    """A count of up to four digits; else, for lack of room, the share of the class."""
    return str(images) if images < 10_000 else f"{100 * share:.1f}%"


def _coloured(counts: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.uint8]:
    k = len(counts)
    fold = -(-k // _WHOLE)  # classes a pixel stands for, where there are more classes than pixels
    cell = max(1, _WHOLE // k)
    named = cell >= _SMALLEST_NAMED
    small = min(SIZE, cell)
    shown = [shortened(name, _LONGEST_NAME, small) for name in names] if named else []
    longest = max((width_of(name, small) for name in shown), default=0)
    matrix = _colours(_folded(counts, fold)).repeat(cell, axis=0).repeat(cell, axis=1)
    side = len(matrix)
    left, top = _GAP + LINE + longest + 8, 2 * _GAP + 2 * LINE + longest + 8
    panel = left + side + 2 * _GAP
    lines = mix_ups(counts, _MIX_UPS)
    sheet = Sheet(panel + 340, top + side + LINE + 2 * _GAP)
    sheet.write(_GAP, _GAP, _overall(counts))
    sheet.write(left + side / 2, _GAP + LINE + 6, "predicted", FAINT, anchor="ma")
    sheet.write_upwards(_GAP + SIZE // 2, top + side // 2 + width_of("true") // 2, "true", FAINT)
    sheet.paste(left, top, matrix)
    for place, name in enumerate(shown):
        middle = place * cell + cell // 2
        sheet.write(left - 6, top + middle, name, size=small, anchor="rm")
        sheet.write_upwards(left + middle, top - 6, name, size=small)
    sheet.write(panel, top, "most frequent mistakes", FAINT)
    for place, (true, predicted, images) in enumerate(lines, start=1):
        y = top + 6 + place * (LINE + 4)
        sheet.write(panel + 36, y, f"{images:,}", VERMILLION, anchor="ra")
        sheet.write(panel + 46, y, shortened(f"{names[true]} taken for {names[predicted]}", 280))
    note = f"{k:,} classes in their order, from the left and from the top"
    note += "" if named else "; too many to name each"
    note += f"; {fold} classes a pixel" if fold > 1 else ""
    sheet.write(left, top + side + _GAP, note, FAINT)
    return sheet.pixels()


def _folded(counts: NDArray[np.int64], fold: int) -> NDArray[np.int64]:
    """Neighbouring classes added up, ``fold`` of them each."""
    rest = -len(counts) % fold
    padded = np.pad(counts, ((0, rest), (0, rest)))
    k = len(padded) // fold
    return padded.reshape(k, fold, k, fold).sum(axis=(1, 3))


def _row_shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _depth(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """How strongly each cell is coloured, from 0 to 1: roots of the shares, so that one mistake in a hundred shows."""
    return np.sqrt(_row_shares(counts))


def _is_dark(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    return _depth(counts) > 0.6


def _colours(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """uint8 (k, k, 3): from near white to blue on the diagonal, to orange beside it."""
    is_right = np.eye(len(counts), dtype=bool)[..., None]
    full = np.where(is_right, np.array(BLUE), np.array(VERMILLION))
    return (244 + (full - 244) * _depth(counts)[..., None]).round().astype(np.uint8)
