"""Activation functions and their derivatives."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from imgclf.figures.canvas import BLUE, VERMILLION, sheet, tidy
from imgclf.figures.table import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_COLUMNS = 5


class Curve(NamedTuple):
    """A function at some points; all float64 (n,)."""

    inputs: NDArray[np.float64]
    values: NDArray[np.float64]
    slopes: NDArray[np.float64]


def activation_curve(activation: nn.Module, inputs: NDArray[np.float64]) -> Curve:
    """An elementwise module and its derivative, by automatic differentiation in double precision.

    Where a function has no derivative, the slope is the one that training would use: 0 for ReLU at 0.

    Args:
        activation: maps each number for itself. Its parameters become float64.
        inputs: float64 (n,).
    """
    x = torch.from_numpy(inputs.copy()).requires_grad_()
    y = activation.double()(x)
    (slopes,) = torch.autograd.grad(y.sum(), x)
    return Curve(inputs, y.detach().numpy(), slopes.numpy())


def activation_table(curves: Mapping[str, Curve], at_zero: Mapping[str, Curve]) -> str:
    """Value and derivative at 0, and the greatest derivative on the curve.

    Args:
        curves: by name.
        at_zero: the same functions at the single point 0.
    """
    rows = []
    for name, curve in curves.items():
        zero = at_zero[name]
        rows.append([name, *(f"{float(v):.4g}" for v in (zero.values[0], zero.slopes[0], curve.slopes.max()))])
    return table(["activation", "value at 0", "derivative at 0", "largest derivative"], rows)


def draw_activations(curves: Mapping[str, Curve]) -> "Figure":
    """Functions in one row, their derivatives below, these all to one scale; at most five side by side."""
    columns = min(len(curves), _MOST_COLUMNS)
    bands = math.ceil(len(curves) / columns)
    figure = sheet(3.6 * bands)
    grid = figure.subplots(2 * bands, columns, sharex=True, squeeze=False)
    slopes = np.concatenate([curve.slopes for curve in curves.values()])
    margin = 0.05 * (slopes.max() - slopes.min() or 1)
    for axes in grid.flat:
        axes.set_visible(False)
    for index, (name, curve) in enumerate(curves.items()):
        band, column = divmod(index, columns)
        upper, lower = grid[2 * band, column], grid[2 * band + 1, column]
        for axes, y, colour in ((upper, curve.values, BLUE), (lower, curve.slopes, VERMILLION)):
            axes.set_visible(True)
            axes.plot(curve.inputs, y, color=colour, linewidth=2)
            tidy(axes)
        upper.set_title(name, fontsize=11)
        lower.set_ylim(slopes.min() - margin, slopes.max() + margin)
        lower.set_xlabel("x")
        lower.tick_params(labelbottom=True)
        if column == 0:
            upper.set_ylabel("value")
            lower.set_ylabel("derivative")
        else:
            lower.tick_params(labelleft=False)
    return figure
