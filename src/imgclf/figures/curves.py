"""Activation functions with their derivatives, learning rates over a run, and the sheet that all pictures are on."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Panels = Mapping[str, Mapping[str, Sequence[float]]]  # by schedule and line, "" for a line without a name

# From the palette of Okabe & Ito (2008), told apart by colour-blind readers too.
BLUE, VERMILLION = "#0072B2", "#D55E00"


def sheet(height_inches: float, rows: int = 1, columns: int = 1, **shared: Any) -> tuple["Figure", NDArray[Any]]:
    """An empty picture, 1200 pixels wide, that needs no display, and its panels (rows, columns)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height_inches), dpi=150, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, **shared)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, grid


def pixels(figure: "Figure") -> NDArray[np.uint8]:
    """The picture as uint8 (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


class Curve(NamedTuple):
    """A function at some points; all float64 (n,)."""

    inputs: NDArray[np.float64]
    values: NDArray[np.float64]
    slopes: NDArray[np.float64]


def activation_curve(activation: nn.Module, inputs: NDArray[np.float64]) -> Curve:
    """An elementwise module and its derivative, by automatic differentiation in double precision.

    Where a function has no derivative, the slope is the one that training would use: 0 for ReLU at 0. Where the inputs,
    float64 (n,), pass 0, it is added with a point just after it. The module's parameters become float64.
    """
    if inputs[0] < 0 < inputs[-1]:
        inputs = np.union1d(inputs, [0, 1e-9])
    x = torch.from_numpy(inputs.copy()).requires_grad_()
    y = activation.double()(x)
    (slopes,) = torch.autograd.grad(y.sum(), x)
    return Curve(inputs, y.detach().numpy(), slopes.numpy())


def draw_activations(curves: Mapping[str, Curve]) -> "Figure":
    """A row a function: its values, and its derivative, with a dot at 0; all derivatives to one scale."""
    figure, grid = sheet(0.8 + 1.5 * len(curves), len(curves), 2, sharex=True)
    for (left, right), (name, curve) in zip(grid, curves.items(), strict=True):
        for axes, y, colour in ((left, curve.values, BLUE), (right, curve.slopes, VERMILLION)):
            for side in (curve.inputs <= 0, curve.inputs > 0):  # not joined: a derivative may jump between them
                axes.plot(curve.inputs[side], y[side], color=colour, linewidth=2)
        right.plot(curve.inputs[curve.inputs == 0], curve.slopes[curve.inputs == 0], "o", color=VERMILLION)
        right.sharey(grid[0, 1])
        left.set_ylabel(name, fontsize=11)
    grid[0, 0].set_title("value at x", fontsize=11)
    grid[0, 1].set_title("derivative at x", fontsize=11)
    return figure


def draw_schedules(panels: Panels, unit: str, label: str = "learning rate") -> "Figure":
    """A panel a schedule, at most four side by side, all to one scale from 0; a rate holds until the next ``unit``."""
    columns = min(len(panels), 4)
    rows = math.ceil(len(panels) / columns)
    figure, grid = sheet(2.4 * rows + 0.4 if columns > 1 else 4, rows, columns, sharey=True)
    styles = (BLUE, 3), (VERMILLION, 1.2)  # the first line is thicker, to be seen where the second lies upon it
    for axes, (name, panel) in zip(grid.flat, panels.items(), strict=False):
        for (colour, width), (line, rates) in zip(styles, panel.items(), strict=False):
            axes.step(range(len(rates) + 1), [*rates, rates[-1]], colour, where="post", label=line, linewidth=width)
        axes.set_title(name, fontsize=11)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    grid[0, 0].set_ylim(bottom=0)
    figure.supxlabel(unit, fontsize=10)
    figure.supylabel(label, fontsize=10)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return figure
