"""What the stages of a network make of some images."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from imgclf.errors import InputError
from imgclf.figures.canvas import sheet
from imgclf.figures.stages import shape_text
from imgclf.figures.tiles import mosaic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LONGEST_ROW = 40  # values of a vector side by side
_ROW_INCHES = 1.05
_PASSING_ON = (nn.Flatten, nn.Identity, nn.Dropout)  # in evaluation


class Example(NamedTuple):
    """image: uint8 (c, h, w) with c 1 or 3; caption: what stands above it; outputs: by stage, as computed for it."""

    image: NDArray[np.uint8]
    caption: str
    outputs: Mapping[str, NDArray[np.float32]]


def stage_outputs(net: nn.Module, images: Tensor, names: Sequence[str] | None, count: int) -> dict[str, Tensor]:
    """Outputs of some parts of a network, float32 (n, ...), in the order in which they are computed.

    Args:
        net: in evaluation mode.
        images: float32 (n, c, h, w).
        names: paths of the parts, such as b3.0; None for the first of the network's own parts. Of these, the ones
            that only pass on what they are given (flatten, dropout) are left out.
        count: how many, where ``names`` is None.

    Raises:
        InputError: there is no such part, or it is not used.
    """
    parts = dict(net.named_modules())
    unknown = [name for name in names or () if name not in parts or not name]
    if unknown:
        near = ", ".join(name for name, _ in net.named_children())
        raise InputError(
            f"figure.stages: {type(net).__name__} has no part {unknown[0]!r}; it has {near} and their parts"
        )
    found: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> None:
        # A copy, since a later layer may work in place.
        found[name] = output.detach().float().clone()

    own = [name for name, part in net.named_children() if not isinstance(part, _PASSING_ON)]
    hooks = [
        parts[name].register_forward_hook(lambda _, __, output, name=name: keep(name, output))
        for name in (own if names is None else names)
    ]
    try:
        with torch.no_grad():
            net(images)
    finally:
        for hook in hooks:
            hook.remove()
    unused = [name for name in names or () if name not in found]
    if unused:
        raise InputError(f"figure.stages: {type(net).__name__} does not use its part {unused[0]!r}; leave it out")
    return found if names is not None else dict(list(found.items())[:count])


def draw_feature_maps(title: str, examples: Sequence[Example], channels: int) -> "Figure":
    """Each image at the left, and beside it a strip a stage: the first maps, or the values of a vector.

    Args:
        title: above the picture.
        examples: one or more, all with the same stages.
        channels: maps drawn of each stage.
    """
    stages = len(examples[0].outputs)
    figure = sheet(0.9 + _ROW_INCHES * max(stages, 2) * len(examples))
    blocks = figure.subfigures(len(examples), 1, squeeze=False, hspace=0.04)
    for block, example in zip(blocks.flat, examples, strict=True):
        grid = block.add_gridspec(stages, 2, width_ratios=(1, 4))
        image = block.add_subplot(grid[:, 0])
        pixels = example.image.transpose(1, 2, 0)
        image.imshow(pixels if pixels.shape[2] == 3 else pixels[..., 0], cmap="gray", interpolation="nearest")
        image.set_title(example.caption, fontsize=10)
        image.set_axis_off()
        for row, (name, output) in enumerate(example.outputs.items()):
            _draw_strip(block.add_subplot(grid[row, 1]), name, output, channels)
    figure.suptitle(title, fontsize=12)
    figure.supxlabel("each map or vector from its least value (dark) to its greatest (bright)", fontsize=10)
    return figure


def _draw_strip(axes: "Axes", name: str, output: NDArray[np.float32], channels: int) -> None:
    axes.set_axis_off()
    if output.ndim == 3 and output.shape[1:] != (1, 1):
        maps = output[:channels, None]
        maps = (maps - maps.min(axis=(2, 3), keepdims=True)) / _span(np.ptp(maps, axis=(2, 3), keepdims=True))
        strip = np.full((channels, *maps.shape[1:]), np.nan, dtype=np.float32)
        strip[: len(maps)] = maps
        axes.imshow(mosaic(strip, channels)[..., 0], cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
        what = f"{min(channels, len(output))} of {len(output)} maps of {shape_text(output.shape[1:], '×')}"
    else:
        values = output.ravel()
        columns = len(values) if len(values) <= _LONGEST_ROW else math.ceil(math.sqrt(8 * len(values)))
        cells = np.full(math.ceil(len(values) / columns) * columns, np.nan, dtype=np.float32)
        cells[: len(values)] = (values - values.min()) / _span(np.ptp(values, keepdims=True))
        axes.imshow(cells.reshape(-1, columns), cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
        what = f"{len(values)} values"
    axes.set_title(f"{name}: {what}", fontsize=10, loc="left", pad=3)


def _span(spread: NDArray[np.float32]) -> NDArray[np.float32]:
    """What to divide by: 1 where all values are the same."""
    return np.where(spread > 0, spread, np.float32(1))
