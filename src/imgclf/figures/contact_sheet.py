"""Pictures side by side, each with what a network takes it for."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imgclf.figures.canvas import GREY, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 6
_ROW_INCHES = 1.75
_LONGEST_LINE = 18  # characters above a picture


def draw_contact_sheet(
    title: str, pictures: Sequence[NDArray[np.uint8]], names: Sequence[str], answers: Sequence[str]
) -> "Figure":
    """Six pictures a row.

    Args:
        title: above them.
        pictures: uint8 (h, w, 3) each, one or more.
        names: of the files, above each; the middle of a long one is left out.
        answers: one line each, below it.
    """
    rows = math.ceil(len(pictures) / _COLUMNS)
    figure = sheet(0.6 + _ROW_INCHES * rows)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.flat[len(pictures) :]:
        axes.set_axis_off()
    for axes, picture, name, answer in zip(grid.flat, pictures, names, answers, strict=False):
        axes.imshow(picture, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        axes.set_title(shortened(name, _LONGEST_LINE), fontsize=8, color=GREY, pad=3)
        axes.set_xlabel(answer, fontsize=10)
    figure.suptitle(title, fontsize=12)
    return figure


def shortened(text: str, length: int) -> str:
    """At most ``length`` characters: the beginning and the end of a longer text, with a … between."""
    if len(text) <= length:
        return text
    end = (length - 1) // 2
    return f"{text[: length - 1 - end]}…{text[len(text) - end :]}"
