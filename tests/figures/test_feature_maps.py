"""Outputs of stages."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from imgclf.errors import InputError
from imgclf.figures.canvas import save
from imgclf.figures.feature_maps import Example, draw_feature_maps, stage_outputs


def small() -> nn.Sequential:
    block = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True))
    return nn.Sequential(block, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4)).eval()


def test_the_first_stages_that_do_something() -> None:
    net, images = small(), torch.rand(2, 1, 8, 8)
    found = stage_outputs(net, images, None, 3)
    assert list(found) == ["0", "1", "3"]
    assert torch.equal(found["0"], net[0](images))
    assert torch.equal(found["3"], net(images))
    assert list(stage_outputs(net, images, None, 2)) == ["0", "1"]


def test_chosen_parts_as_they_were_before_later_ones_worked_in_place() -> None:
    net, images = small(), torch.rand(2, 1, 8, 8)
    found = stage_outputs(net, images, ["0.0"], 3)
    assert torch.equal(found["0.0"], net[0][0](images))
    assert (found["0.0"] < 0).any()


def test_unknown_and_unused_parts_are_refused() -> None:
    net = small()
    with pytest.raises(InputError, match=r"has no part 'b1'; it has 0, 1, 2, 3 and their parts"):
        stage_outputs(net, torch.rand(1, 1, 8, 8), ["b1"], 3)


def test_picture(tmp_path: Path, ink: Callable[[Path], float]) -> None:
    rng = np.random.default_rng(0)
    outputs = {
        "maps": rng.random((4, 6, 6), dtype=np.float32),
        "single": np.zeros((1, 6, 6), dtype=np.float32),
        "vector": rng.random(300, dtype=np.float32),
        "pooled": rng.random((10, 1, 1), dtype=np.float32),
    }
    for channels in (1, 3):
        image = rng.integers(0, 256, (channels, 8, 8), dtype=np.uint8)
        picture = draw_feature_maps("net", [Example(image, "cat", outputs)] * 2, channels=8)
        assert ink(save(picture, tmp_path / "maps.png")) > 0.1
