"""What a network is made of and costs, part by part."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities.model_summary.model_summary import ModelSummary

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
