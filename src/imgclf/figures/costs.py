"""What networks cost, side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from imgclf.figures.canvas import BLUE, VERMILLION, sheet, tidy
from imgclf.figures.table import table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BYTES_A_WEIGHT = 4  # float32
_LARGEST_RATIO = 100  # of the longest bar to the shortest; beyond it the axis is logarithmic


class Cost(NamedTuple):
    """A network's number of parameters, and of multiply-adds for one image."""

    name: str
    parameters: int
    multiply_adds: int


def parameter_count(module: nn.Module) -> int:
    """Number of weights and biases, trained or not; shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def cost(name: str, net: nn.Module, image: Tensor) -> Cost:
    """Count what one image costs; those of convolutions and matrix products, biases and all else left out.

    Args:
        name: for the table.
        net: in evaluation mode; on the meta device nothing is computed.
        image: float32 (1, c, h, w), on the same device.
    """
    # With gradients: without them attention takes a fused path that the counter does not know.
    with FlopCounterMode(display=False) as counter:
        net(image)
    return Cost(name, parameter_count(net), counter.get_total_flops() // 2)


def cost_table(costs: Sequence[Cost]) -> str:
    """In millions and thousand millions, with the size of the weights as 32-bit numbers."""
    rows = [
        [
            c.name,
            f"{c.parameters:,}",
            f"{c.parameters * _BYTES_A_WEIGHT / 1e6:,.1f} MB",
            f"{c.multiply_adds / 1e9:,.3f} G",
        ]
        for c in costs
    ]
    return table(["network", "parameters", "as float32", "multiply-adds"], rows)


def cost_csv(costs: Sequence[Cost]) -> str:
    """Text of a CSV file: network, parameters, multiply_adds."""
    lines = [f"{c.name},{c.parameters},{c.multiply_adds}" for c in costs]
    return "\n".join(["network,parameters,multiply_adds", *lines]) + "\n"


def draw_costs(title: str, costs: Sequence[Cost]) -> "Figure":
    """Parameters in one panel, multiply-adds in the other, a bar a network."""
    figure = sheet(1.3 + 0.4 * len(costs))
    names = [c.name for c in costs]
    for axes, amounts, label, colour in zip(
        figure.subplots(1, 2, sharey=True),
        ([c.parameters / 1e6 for c in costs], [c.multiply_adds / 1e9 for c in costs]),
        ("parameters, in millions", "multiply-adds an image, in thousand millions"),
        (BLUE, VERMILLION),
        strict=True,
    ):
        bars = axes.barh(range(len(names)), amounts, color=colour)
        axes.bar_label(bars, [_three_digits(amount) for amount in amounts], padding=3)
        smallest, largest = min(amounts), max(amounts)
        if smallest > 0 and largest / smallest > _LARGEST_RATIO:
            axes.set_xscale("log")
            axes.set_xlim(smallest / 3, largest * 5)
        else:
            axes.margins(x=0.16)
        axes.set_xlabel(label)
        axes.set_yticks(range(len(names)), names)
        tidy(axes)
        axes.grid(visible=False, axis="y")
    figure.axes[0].invert_yaxis()
    figure.suptitle(title, fontsize=12)
    return figure


def _three_digits(amount: float) -> str:
    return f"{amount:#.3g}".rstrip(".") if amount < 1000 else f"{amount:,.0f}"
