"""Counts against those worked out by hand and those that torchvision publishes with its weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision import models

from imgclf.figures.canvas import save
from imgclf.figures.costs import Cost, cost, cost_csv, cost_table, draw_costs


def test_by_hand() -> None:
    # 4x4 pixels x 8 filters x (2 channels of a group x 9) = 2,304; then 8x16 numbers x 3 = 384
    net = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(128, 3)).eval()
    assert cost("small", net, torch.zeros(1, 4, 6, 6)) == Cost("small", (144 + 8) + 16 + (384 + 3), 2304 + 384)


@pytest.mark.parametrize("name", ["alexnet", "vgg11", "resnet18", "googlenet", "mobilenet_v2", "vit_b_16"])
def test_as_published_by_torchvision(name: str) -> None:
    published = models.get_model_weights(name).IMAGENET1K_V1.meta
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        counted = cost(name, models.get_model(name, **options).eval(), torch.zeros(1, 3, 224, 224))
    assert counted.parameters == published["num_params"]
    assert counted.multiply_adds / 1e9 == pytest.approx(published["_ops"], rel=0.01)


COSTS = [Cost("small", 1_250_000, 500_000_000), Cost("large", 100_000_000, 7_125_000_000)]


def test_table_and_csv() -> None:
    lines = [line.split() for line in cost_table(COSTS).splitlines()[1:]]
    assert lines[0] == ["small", "1,250,000", "5.0", "MB", "0.500", "G"]
    assert lines[1] == ["large", "100,000,000", "400.0", "MB", "7.125", "G"]
    assert cost_csv(COSTS) == "network,parameters,multiply_adds\nsmall,1250000,500000000\nlarge,100000000,7125000000\n"


def test_the_axis_is_logarithmic_where_the_bars_would_not_be_seen(tmp_path: Path, ink: Callable[[Path], float]) -> None:
    near = draw_costs("near", COSTS)
    far = draw_costs("far", [*COSTS, Cost("tiny", 100, 10_000_000)])
    assert [axes.get_xscale() for axes in near.axes] == ["linear", "linear"]
    assert [axes.get_xscale() for axes in far.axes] == ["log", "log"]
    assert all(ink(save(figure, tmp_path / "costs.png")) > 0.03 for figure in (near, far))
