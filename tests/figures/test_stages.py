"""Shapes, parameters and multiply-adds of small networks, worked out by hand."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from imgclf.figures.canvas import save
from imgclf.figures.costs import cost
from imgclf.figures.stages import Stage, draw_stages, drawn_stages, stage_table, stages


def small() -> nn.Module:
    net = nn.Sequential()
    # 8x8 pixels x 4 filters x 27 weights = 6,912 multiply-adds; 4 x 27 + 4 = 112 parameters
    net.add_module("first", nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)))
    net.add_module("flatten", nn.Flatten())
    net.add_module("2", nn.Linear(64, 10))  # 640 multiply-adds, 650 parameters
    return net.eval()


def test_each_stage_and_its_parts() -> None:
    found = stages(small(), torch.zeros(1, 3, 8, 8), depth=2)
    assert found == [
        Stage("first", "Sequential", 1, (4, 4, 4), 112, 6912),
        Stage("first.0", "Conv2d", 2, (4, 8, 8), 112, 6912),
        Stage("first.1", "ReLU", 2, (4, 8, 8), 0, 0),
        Stage("first.2", "MaxPool2d", 2, (4, 4, 4), 0, 0),
        Stage("flatten", "Flatten", 1, (64,), 0, 0),
        Stage("2", "Linear", 1, (10,), 650, 640),
    ]
    assert stages(small(), torch.zeros(1, 3, 8, 8), depth=1) == [s for s in found if s.depth == 1]


def test_nothing_has_to_be_computed() -> None:
    with torch.device("meta"):
        net, image = small(), torch.zeros(1, 3, 8, 8)
    assert stages(net, image, depth=2) == stages(small(), torch.zeros(1, 3, 8, 8), depth=2)


def test_table() -> None:
    net, image = small(), torch.zeros(1, 3, 8, 8)
    text = stage_table((3, 8, 8), stages(net, image, depth=2), cost("small", net, image))
    assert [line.split() for line in text.splitlines()][1:] == [
        ["input", "3", "x", "8", "x", "8"],
        ["first", "4", "x", "4", "x", "4", "112", "6,912"],
        ["first.0", "Conv2d", "4", "x", "8", "x", "8", "112", "6,912"],
        ["first.1", "ReLU", "4", "x", "8", "x", "8", "0", "0"],
        ["first.2", "MaxPool2d", "4", "x", "4", "x", "4", "0", "0"],
        ["flatten", "64", "0", "0"],
        ["2", "Linear", "10", "650", "640"],
        ["in", "all", "762", "7,552"],
    ]


def test_a_part_used_twice_has_its_parameters_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(5, 5)
            self.unused = nn.Linear(5, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.linear(x))

    found = stages(Twice().eval(), torch.zeros(1, 5), depth=1)
    assert found == [Stage("linear", "Linear", 1, (5,), 30, 25), Stage("linear", "Linear", 1, (5,), 0, 25)]


def test_bars_are_drawn_for_the_finest_parts_that_do_something() -> None:
    found = stages(small(), torch.zeros(1, 3, 8, 8), depth=2)
    assert [s.label for s in drawn_stages((3, 8, 8), found)] == ["first.0 Conv2d", "first.2 MaxPool2d", "2 Linear"]
    assert [s.label for s in drawn_stages((3, 8, 8), [s for s in found if s.depth == 1])] == ["first", "2 Linear"]


def test_picture(tmp_path: Path, ink: Callable[[Path], float]) -> None:
    found = stages(small(), torch.zeros(1, 3, 8, 8), depth=2)
    assert ink(save(draw_stages("small", (3, 8, 8), found), tmp_path / "stages.png")) > 0.03
