"""What an image becomes on its way through a network, stage by stage."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from imgclf.figures.canvas import BLUE, GREY, VERMILLION, sheet, tidy
from imgclf.figures.costs import Cost, parameter_count
from imgclf.figures.table import table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Stage(NamedTuple):
    """One use of one part of a network.

    name: its path in the network, such as b3.0. kind: its class, or that of the only layer in it. depth: 1 for a part
    of the network itself, 2 for a part of such a part. shape: of its output for one image. parameters: its own, 0
    where an earlier stage had the same part. multiply_adds: for one image.
    """

    name: str
    kind: str
    depth: int
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int

    @property
    def values(self) -> int:
        """Numbers in the output for one image."""
        return math.prod(self.shape)

    @property
    def label(self) -> str:
        """The name, with the class where the name ends in a mere number."""
        return _label(self.name, self.kind)


def stages(net: nn.Module, image: Tensor, depth: int) -> list[Stage]:
    """Send an image through and note what each part gives, in the order in which the parts begin.

    Parts that are not used, or whose output is no tensor, are left out. Multiply-adds are those of convolutions and
    matrix products; the cost of everything else is not counted.

    Args:
        net: in evaluation mode; on the meta device, where nothing is computed, or on any other.
        image: float32 (1, c, h, w), on the same device.
        depth: 1 for the parts of ``net``, 2 for their parts too, and so on.
    """
    found: dict[int, Stage] = {}
    begun: list[tuple[int, int]] = []
    seen: set[int] = set()
    count = 0

    def begin(module: nn.Module, inputs: Any) -> None:
        nonlocal count
        begun.append((count, counter.get_total_flops()))
        count += 1

    def end(name: str, module: nn.Module, output: Any) -> None:
        place, before = begun.pop()
        if not isinstance(output, Tensor):
            return
        parameters = 0 if id(module) in seen else parameter_count(module)
        seen.add(id(module))
        operations = (counter.get_total_flops() - before) // 2
        shape = tuple(output.shape[1:])
        found[place] = Stage(name, _kind(module), name.count(".") + 1, shape, parameters, operations)

    handles = []
    for name, module in net.named_modules():
        if name and name.count(".") < depth:
            handles.append(module.register_forward_pre_hook(begin))
            handles.append(module.register_forward_hook(lambda m, _, out, name=name: end(name, m, out)))
    try:
        # With gradients: without them attention takes a fused path that the counter does not know.
        with FlopCounterMode(display=False) as counter:
            net(image)
    finally:
        for handle in handles:
            handle.remove()
    return [found[place] for place in sorted(found)]


def part_label(net: nn.Module, name: str) -> str:
    """How a stage is called that is the part ``name`` of a network: b3.0 Inception, but stage1."""
    return _label(name, _kind(net.get_submodule(name)))


def _label(name: str, kind: str) -> str:
    return f"{name} {kind}" if name.rpartition(".")[2].isdigit() else name


def _kind(module: nn.Module) -> str:
    while isinstance(module, nn.Sequential) and len(module) == 1:
        module = module[0]
    return type(module).__name__


def stage_table(input_shape: Sequence[int], rows: Sequence[Stage], whole: Cost) -> str:
    """A line a stage, with the parts of a stage below it, indented.

    Args:
        input_shape: of one image.
        rows: of :func:`stages`.
        whole: what the network costs in all, that which belongs to no part included.
    """
    lines = [["input", shape_text(input_shape), "", ""]]
    for row in rows:
        name = "  " * (row.depth - 1) + row.label
        lines.append([name, shape_text(row.shape), f"{row.parameters:,}", f"{row.multiply_adds:,}"])
    lines.append(["in all", "", f"{whole.parameters:,}", f"{whole.multiply_adds:,}"])
    return table(["stage", "output", "parameters", "multiply-adds"], lines)


def shape_text(shape: Sequence[int], times: str = " x ") -> str:
    """A shape as it is read: 64 x 24 x 24."""
    return times.join(map(str, shape))


def drawn_stages(input_shape: Sequence[int], rows: Sequence[Stage]) -> list[Stage]:
    """The stages worth a bar: the finest known, less those with neither parameters nor another number of values."""
    finest = [
        row
        for row, after in zip(rows, [*rows[1:], None], strict=True)
        if after is None or not after.name.startswith(f"{row.name}.")
    ]
    before = [math.prod(input_shape), *(row.values for row in finest)]
    return [row for row, values in zip(finest, before, strict=False) if row.parameters or row.values != values]


def draw_stages(title: str, input_shape: Sequence[int], rows: Sequence[Stage]) -> "Figure":
    """Two bars a stage: how many values it hands on, with their shape, and how many parameters it has.

    Args:
        title: above the picture.
        input_shape: of one image.
        rows: of :func:`stages`; those of :func:`drawn_stages` are drawn.
    """
    chosen = drawn_stages(input_shape, rows)
    figure = sheet(1.1 + 0.27 * (len(chosen) + 1))
    left, right = figure.subplots(1, 2, sharey=True)
    labels = ["input", *(row.label for row in chosen)]
    values = [math.prod(input_shape), *(row.values for row in chosen)]
    shapes = [shape_text(shape, "×") for shape in (input_shape, *(row.shape for row in chosen))]
    _bars(left, values, shapes, [GREY] + [BLUE] * len(chosen))
    _bars(right, [row.parameters for row in chosen], [f"{row.parameters:,}" for row in chosen], VERMILLION, first=1)
    left.set_yticks(range(len(labels)), labels)
    left.set_ylim(len(labels) - 0.4, -0.6)  # the first at the top
    left.set_xlabel("values for one image, in thousands")
    right.set_xlabel("parameters, in thousands")
    right.tick_params(labelleft=False)
    figure.suptitle(title, fontsize=12)
    return figure


def _bars(axes: "Axes", lengths: Sequence[int], texts: Sequence[str], colour: Any, first: int = 0) -> None:
    bars = axes.barh(range(first, first + len(lengths)), [length / 1000 for length in lengths], color=colour)
    axes.bar_label(bars, texts, padding=3, fontsize=9)
    axes.margins(x=0.33)  # room for the texts
    tidy(axes)
    axes.grid(visible=False, axis="y")
