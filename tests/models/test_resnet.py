"""ResNet-18."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from imgclf.errors import InputError
from imgclf.models.resnet import Residual, ResNet18


def resnet(**changes: Any) -> ResNet18:
    return ResNet18(**{"in_channels": 3, "image_size": 16, "num_classes": 4} | changes)


def test_parameters_by_stage(parameters: Callable[..., int]) -> None:
    parts = {name: parameters(part) for name, part in resnet(num_classes=10).net.named_children()}
    assert parts == {
        "stem": 3 * 64 * 9 + 2 * 64,
        "stage1": 4 * (64 * 64 * 9 + 2 * 64),
        "stage2": 64 * 128 * 9 + 3 * 128 * 128 * 9 + 4 * 2 * 128 + 64 * 128,
        "stage3": 128 * 256 * 9 + 3 * 256 * 256 * 9 + 4 * 2 * 256 + 128 * 256,
        "stage4": 256 * 512 * 9 + 3 * 512 * 512 * 9 + 4 * 2 * 512 + 256 * 512,
        "pool": 0,
        "linear": 512 * 10 + 10,
    }
    assert sum(parts.values()) == 11_172_170
    assert parameters(resnet(num_classes=10, stem="imagenet")) == 11_172_170 + 3 * 64 * (49 - 9)


@pytest.mark.parametrize(
    ("stem", "size", "sides"),
    [("small", 32, (32, 32, 16, 8, 4)), ("imagenet", 96, (24, 24, 12, 6, 3)), ("small", 28, (28, 28, 14, 7, 4))],
)
def test_shape_after_each_stage(stem: str, size: int, sides: tuple[int, ...], shapes: Callable[..., Any]) -> None:
    model = resnet(stem=stem, image_size=size, num_classes=10)
    widths = (64, 64, 128, 256, 512)
    assert shapes(model) == [(c, side, side) for c, side in zip(widths, sides, strict=True)] + [(512,), (10,)]


@pytest.mark.parametrize("stem", ["small", "imagenet"])
@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 1, 2), (3, 17, 10), (4, 28, 7)])
def test_images_of_any_size_become_one_logit_a_class(stem: str, channels: int, size: int, classes: int) -> None:
    model = resnet(stem=stem, in_channels=channels, image_size=size, num_classes=classes)
    assert model(torch.rand(2, channels, size, size)).shape == (2, classes)


def test_a_block_whose_convolutions_are_zero_passes_its_input_through_the_relu() -> None:
    block = Residual(3, 3)
    for layer in block.residual:
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
    x = torch.randn(2, 3, 5, 5)
    assert torch.equal(block(x), F.relu(x))


def test_a_halving_block_whose_convolutions_are_zero_is_its_1x1_shortcut() -> None:
    block = Residual(2, 3, stride=2)
    for layer in block.residual:
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
    x = torch.randn(2, 2, 5, 5)
    mixed = torch.einsum("oi,nihw->nohw", block.shortcut.weight[:, :, 0, 0], x[:, :, ::2, ::2])
    torch.testing.assert_close(block(x), F.relu(mixed))


def test_a_shortcut_is_there_only_where_the_shape_changes() -> None:
    blocks = [m for m in resnet().modules() if isinstance(m, Residual)]
    assert [isinstance(b.shortcut, nn.Conv2d) for b in blocks] == [False, False, True, False, True, False, True, False]


def test_gradients_reach_every_parameter(without_gradient: Callable[..., list[str]]) -> None:
    for stem in ("small", "imagenet"):
        assert without_gradient(resnet(stem=stem, image_size=32)) == []


def test_a_batch_can_be_learnt_by_heart(learns_by_heart: Callable[..., bool]) -> None:
    torch.manual_seed(0)
    assert learns_by_heart(resnet(image_size=8))


def test_xavier_weights_keep_to_their_bound() -> None:
    for layer in resnet(init="xavier").modules():
        if isinstance(layer, nn.Conv2d):
            out_channels, in_channels, height, width = layer.weight.shape
            bound = (6 / ((in_channels + out_channels) * height * width)) ** 0.5
            assert 0.5 * bound < layer.weight.abs().max() <= bound
            assert layer.bias is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stem": "tiny"}, "model.stem must be small or imagenet, got 'tiny'"),
        ({"init": "zeros"}, "model.init must be xavier or default, got 'zeros'"),
    ],
)
def test_nonsense_is_refused_with_key_and_value(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        resnet(**change)


def test_a_checkpoint_opens_with_nothing_else_at_hand(reopened: Callable[..., dict[str, Any]]) -> None:
    assert reopened(resnet(stem="imagenet", optimizer=lambda p: torch.optim.SGD(p, lr=0.1))) == {
        "in_channels": 3,
        "image_size": 16,
        "num_classes": 4,
        "stem": "imagenet",
        "init": "xavier",
        "label_smoothing": 0.0,
        "channels_last": "auto",
        "compile": False,
    }
