"""What a network is made of and costs, part by part, and what it makes of images."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.model_summary.model_summary import ModelSummary
from torch import Tensor, nn
from torchvision.utils import make_grid

from imgclf.errors import InputError
from imgclf.figures.curves import BLUE, VERMILLION, sheet


class Stage(NamedTuple):
    """A part of a network: path, such as b3.0, and class; its output for one image, as 64 x 24 x 24; its costs."""

    name: str
    kind: str
    output: str
    parameters: int
    multiply_adds: int


def stages(model: LightningModule, depth: int) -> list[Stage]:
    """``net`` as a whole, then its parts that are used, theirs for a depth of 2; costs of convolutions and products."""
    torch.backends.mha.set_fastpath_enabled(False)  # of attention, which the counter does not know
    summary = ModelSummary(model, max_depth=depth + 1)
    columns = (summary.layer_names, summary.layer_types, summary.out_sizes, summary.param_nums)
    return [
        Stage(name.removeprefix("net."), kind, " x ".join(map(str, shape[1:])), parameters, sum(flops.values()) // 2)
        for name, kind, shape, parameters, flops in zip(*columns, summary.flop_counts.values(), strict=True)
        # Not the metrics' parts, nor what is not used or gives other than one tensor.
        if name.split(".")[0] == "net" and all(isinstance(size, int) for size in shape)
    ]


def draw_costs(title: str, costs: Mapping[str, Stage]) -> Figure:
    """Parameters and multiply-adds side by side, a bar for each entry."""
    figure, grid = sheet(1.2 + 0.27 * len(costs), 1, 2, sharey=True)
    for axes, colour, field in zip(grid[0], (BLUE, VERMILLION), ("parameters", "multiply_adds"), strict=True):
        bars = axes.barh(list(costs), [getattr(stage, field) for stage in costs.values()], color=colour)
        axes.bar_label(bars, fmt=EngFormatter(places=1), padding=3, fontsize=9)
        axes.margins(x=0.2, y=0.02)  # room for the texts
        axes.locator_params(axis="x", nbins=5)
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.set_xlabel(field.replace("_", "-"))
        axes.grid(visible=False, axis="y")
    grid[0, 0].invert_yaxis()
    figure.suptitle(title, fontsize=12)
    return figure


def draw_filters(net: nn.Module, image_shape: Sequence[int]) -> Figure:
    """The first 64 filters of the first layer: a convolution's, or a linear one's rows as images (c, h, w)."""
    layer = next((m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)), None)
    if layer is None or (isinstance(layer, nn.Linear) and layer.in_features != math.prod(image_shape)):
        raise InputError("the network begins with no layer whose weights are images: choose a run of another network")
    weights = layer.weight.detach()
    tiles = (weights if weights.ndim == 4 else weights.reshape(-1, *image_shape))[:64]
    size, largest = "×".join(map(str, tiles.shape[1:])), float(tiles.abs().max())
    figure, ((axes,),) = sheet(0.5 + math.ceil(len(tiles) / 8) * tiles.shape[2] / tiles.shape[3])
    _draw_tiles(axes, tiles if tiles.shape[1] == 3 else tiles.mean(1, keepdim=True), 8, "gray", (-largest, largest))
    title = f"{len(tiles)} of {len(weights)} filters of {size}, from {-largest:.2g} (dark) to {largest:.2g} (bright)"
    axes.set_title(title, fontsize=11)
    return figure


def outputs(net: nn.Module, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """What the parts of these paths give for images float32 (n, c, h, w), in the order of their work."""
    found: dict[str, Tensor] = {}
    for name, part in net.named_modules():
        if name in names:  # a copy, since a later layer may work in place
            part.register_forward_hook(
                lambda _, __, out, name=name: found.update({name: out.clone()} if isinstance(out, Tensor) else {})
            )
    net(images)
    if lacking := [name for name in names if name not in found]:
        parts = ", ".join(dict(net.named_children()))
        raise InputError(f"figure.stages: no part {lacking[0]!r} that gives a tensor is used; try {parts}")
    return found


def draw_feature_maps(images: Tensor, captions: Sequence[str], found: Mapping[str, Tensor], channels: int) -> Figure:
    """A row an image, uint8 (n, c, h, w): itself, then what each stage makes of it, the first maps or all values."""
    figure, grid = sheet(8 / (1 + len(found)) * len(images), len(images), 1 + len(found))
    for index, (row, caption) in enumerate(zip(grid, captions, strict=True)):
        _draw_tiles(row[0], images[index : index + 1], 1, "gray")
        row[0].set_title(caption, fontsize=10)
        for axes, (name, output) in zip(row[1:], found.items(), strict=True):
            values = output[index].squeeze()
            if values.ndim < 2:
                axes.bar(range(values.numel()), values.reshape(-1).tolist(), width=1, color=BLUE)
                axes.set_title(f"{name}\n{values.numel()} values", fontsize=10)
            else:
                maps = values.reshape(-1, 1, *values.shape[-2:])
                _draw_tiles(axes, maps[:channels], math.ceil(math.sqrt(channels)), "viridis")
                size = "×".join(map(str, maps.shape[2:]))
                axes.set_title(f"{name}\n{min(channels, len(maps))} of {len(maps)} maps, {size}", fontsize=10)
    return figure


def _draw_tiles(axes: Axes, tiles: Tensor, columns: int, cmap: str, limits: tuple[float, float] | None = None) -> None:
    """Images (n, c, h, w) side by side, each from its least value to its greatest where no limits are given."""
    whole = make_grid(tiles.float(), columns, 1 + tiles.shape[3] // 12, True, limits, True, math.nan)
    picture = whole[0] if tiles.shape[1] == 1 else whole.permute(1, 2, 0).nan_to_num(1)
    axes.imshow(picture.numpy(), cmap=cmap, vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
