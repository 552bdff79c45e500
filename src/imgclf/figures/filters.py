"""The weights of a network's first layer, as pictures."""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import nn

from imgclf.errors import InputError
from imgclf.figures.canvas import WIDTH_INCHES, sheet
from imgclf.figures.tiles import mosaic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEW, _MOST_COLUMNS = 8, 16  # so many filters fit in one row; so many stand side by side where there are more
_LARGEST_INCHES = 0.9  # of a filter, with the gap beside it


class Filters(NamedTuple):
    """layer: name of the layer; weights: float32 (filters, c, h, w), c the channels of the layer's input."""

    layer: str
    weights: NDArray[np.float32]


def first_filters(net: nn.Module, image_shape: tuple[int, int, int]) -> Filters:
    """Weights of the first layer that has any: a convolution's filters, or a linear layer's rows as images.

    Args:
        net: any network.
        image_shape: (c, h, w) of what it is fed.

    Raises:
        InputError: the first such layer is linear and does not see the image itself, or there is none.
    """
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            return Filters(name, module.weight.detach().float().numpy(force=True))
        if isinstance(module, nn.Linear):
            if module.in_features != math.prod(image_shape):
                break
            rows = module.weight.detach().float().numpy(force=True)
            return Filters(name, rows.reshape(-1, *image_shape))
    raise InputError(
        f"{type(net).__name__} does not begin with a convolution, or with a linear layer over the pixels of an image: "
        "its weights cannot be shown as images; choose a run of another network"
    )


def draw_filters(filters: Filters, most: int) -> "Figure":
    """Each filter as a small image: colours where it sees three channels, else a mean over its channels.

    Args:
        filters: what to draw.
        most: how many, from the first on.
    """
    weights = filters.weights[:most]
    count, channels, height, width = weights.shape
    columns = count if count <= _FEW else min(max(_FEW, math.ceil(math.sqrt(4 * count))), _MOST_COLUMNS)
    is_colour = channels == 3
    tiles = weights if is_colour else weights.mean(axis=1, keepdims=True)
    largest = np.abs(tiles).max(axis=(1, 2, 3), keepdims=True)
    picture = mosaic(tiles / np.where(largest > 0, largest, np.float32(1)), columns)
    rows = math.ceil(count / columns)
    inches = min(WIDTH_INCHES / columns, _LARGEST_INCHES)
    figure = sheet((0.6 if is_colour else 1.2) + inches * rows * height / width)
    axes = figure.subplots()
    drawn = "all" if count == len(filters.weights) else f"the first {count} of"
    size = f"{channels}×{height}×{width}"
    axes.set_title(f"{drawn} {len(filters.weights)} filters of the first layer, {size} each", fontsize=11)
    axes.set_axis_off()
    if is_colour:
        axes.imshow(np.nan_to_num(picture / 2 + 0.5, nan=1.0), interpolation="nearest")
        axes.text(
            0, -0.01, "grey: weight 0; each filter scaled by its largest weight", transform=axes.transAxes, va="top"
        )
    else:
        drawing = axes.imshow(picture[..., 0], cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        label = "weight over the filter's largest" + ("" if channels == 1 else ", mean over channels")
        figure.colorbar(drawing, ax=axes, orientation="horizontal", aspect=50, shrink=0.6, label=label)
    return figure
