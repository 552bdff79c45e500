"""Filters of the first layer."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from imgclf.errors import InputError
from imgclf.figures.canvas import save
from imgclf.figures.filters import draw_filters, first_filters
from imgclf.figures.tiles import mosaic


def test_of_a_convolution() -> None:
    net = nn.Sequential(nn.Sequential(nn.Conv2d(3, 6, 5)), nn.Conv2d(6, 7, 3))
    found = first_filters(net, (3, 9, 9))
    assert found.layer == "0.0"
    np.testing.assert_array_equal(found.weights, net[0][0].weight.detach().numpy())


def test_a_linear_layers_rows_are_images() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(8, 2))
    net[1].weight.data = torch.arange(16.0).reshape(2, 8)
    found = first_filters(net, (2, 2, 2))
    assert found.weights[1].tolist() == [[[8, 9], [10, 11]], [[12, 13], [14, 15]]]


@pytest.mark.parametrize("net", [nn.Sequential(nn.Flatten(), nn.Linear(5, 2)), nn.Sequential(nn.ReLU())])
def test_what_sees_no_image_is_refused(net: nn.Module) -> None:
    with pytest.raises(InputError, match="choose a run of another network"):
        first_filters(net, (1, 2, 2))


def test_mosaic() -> None:
    tiles = np.array([1.0, 2.0, 3.0], dtype=np.float32).reshape(3, 1, 1, 1)
    n = float("nan")
    np.testing.assert_array_equal(mosaic(tiles, 2)[..., 0], [[1, n, 2], [n, n, n], [3, n, n]])


@pytest.mark.parametrize("shape", [(6, 1, 5, 5), (70, 3, 7, 7), (5, 4, 3, 3), (256, 1, 28, 28)])
def test_pictures(shape: tuple[int, ...], tmp_path: Path, ink: Callable[[Path], float]) -> None:
    generator = torch.Generator().manual_seed(0)
    net = nn.Conv2d(shape[1], shape[0], shape[2])
    net.weight.data = torch.randn(shape, generator=generator)
    picture = draw_filters(first_filters(nn.Sequential(net), (shape[1], 32, 32)), most=64)
    assert ink(save(picture, tmp_path / "filters.png")) > 0.1


def test_dead_filters_can_be_drawn(tmp_path: Path, ink: Callable[[Path], float]) -> None:
    net = nn.Conv2d(1, 4, 3)
    nn.init.zeros_(net.weight)
    assert ink(save(draw_filters(first_filters(nn.Sequential(net), (1, 9, 9)), most=4), tmp_path / "f.png")) > 0
