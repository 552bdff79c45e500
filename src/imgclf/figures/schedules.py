"""Learning rates over the updates of a run."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from imgclf.figures.canvas import BLUE, VERMILLION, sheet, tidy
from imgclf.figures.table import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What is drawn in one panel: a rate for each update 0, 1, ..., by the line's label ("" for none).
Panel = Mapping[str, Sequence[float]]

_MOST_COLUMNS = 4
_MOST_MARKERS = 60


def rate_table(panels: Mapping[str, Panel], updates: Sequence[int]) -> str:
    """A row a line: the rates at some updates.

    Args:
        panels: by the name of the schedule.
        updates: which to show; each less than the number of rates.
    """
    rows = [
        [f"{name}, {label}" if label else name, *(f"{rates[update]:.4g}" for update in updates)]
        for name, panel in panels.items()
        for label, rates in panel.items()
    ]
    return table(["learning rate at update", *map(str, updates)], rows)


def draw_schedules(panels: Mapping[str, Panel], unit: str, updates: Sequence[int] | None = None) -> "Figure":
    """A panel a schedule, at most four side by side, each with its own scale of rates from 0.

    Args:
        panels: by name.
        unit: what the updates are counted in, for the axis.
        updates: that the rates belong to; None for 0, 1, ...
    """
    columns = min(len(panels), _MOST_COLUMNS)
    rows = math.ceil(len(panels) / columns)
    figure = sheet(2.4 * rows + 0.4 if columns > 1 else 4)
    grid = figure.subplots(rows, columns, squeeze=False)
    labels: list[str] = []
    handles = []
    # The first line is the thicker one, to be seen where the second lies upon it.
    styles = [(BLUE, "o", 2.4, 5), (VERMILLION, "s", 1.0, 2.5)]
    for axes, (name, panel) in zip(grid.flat, panels.items(), strict=False):
        for (colour, marker, width, size), (label, rates) in zip(cycle(styles), panel.items(), strict=False):
            shape = marker if len(rates) <= _MOST_MARKERS else ""
            x = range(len(rates)) if updates is None else updates
            (line,) = axes.plot(x, rates, color=colour, marker=shape, linewidth=width, markersize=size)
            if label and label not in labels:
                labels.append(label)
                handles.append(line)
        axes.set_title(name, fontsize=11)
        axes.set_ylim(bottom=0)
        axes.locator_params(axis="x", nbins=4, integer=True)
        tidy(axes)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    figure.supxlabel(unit, fontsize=10)
    figure.supylabel("learning rate", fontsize=10)
    if handles:
        figure.legend(handles, labels, loc="outside upper center", ncols=len(handles), frameon=False)
    return figure
