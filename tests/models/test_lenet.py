"""LeNet."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from imgclf.errors import InputError
from imgclf.models.lenet import LeNet


def lenet(**changes: Any) -> LeNet:
    return LeNet(**{"in_channels": 1, "image_size": 16, "num_classes": 4} | changes)


def test_the_chapters_network_has_61706_parameters(parameters: Callable[..., int]) -> None:
    assert [parameters(part) for part in lenet(image_size=28, num_classes=10).net] == [
        6 * 25 + 6,
        16 * 6 * 25 + 16,
        16 * 5 * 5 * 120 + 120,
        120 * 84 + 84,
        84 * 10 + 10,
    ]
    assert parameters(lenet(image_size=28, num_classes=10)) == 61_706


@pytest.mark.parametrize(("size", "first", "second"), [(28, 14, 5), (32, 16, 6), (12, 6, 1), (15, 7, 1), (16, 8, 2)])
def test_shape_after_each_part(size: int, first: int, second: int, shapes: Callable[..., Any]) -> None:
    model = lenet(image_size=size)
    assert shapes(model) == [(6, first, first), (16, second, second), (120,), (84,), (4,)]


@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 12, 2), (3, 33, 10), (4, 96, 7)])
def test_images_become_one_logit_a_class(channels: int, size: int, classes: int) -> None:
    model = lenet(in_channels=channels, image_size=size, num_classes=classes)
    assert model(torch.rand(2, channels, size, size)).shape == (2, classes)


@pytest.mark.parametrize("size", [1, 3, 7, 11])
def test_too_small_an_image_is_refused_with_the_smallest_that_works(size: int) -> None:
    # 12 -> 6 -> 2 -> 1; 11 -> 5 -> 1 -> nothing to pool
    message = rf"LeNet cannot take images of 1x{size}x{size} .* data.resize, the smallest that fits is 12$"
    with pytest.raises(InputError, match=message):
        lenet(image_size=size)
    assert lenet(image_size=12)(torch.rand(1, 1, 12, 12)).shape == (1, 4)


def test_average_pooling_without_activation_is_an_affine_map_and_max_pooling_is_not() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(2, 20, 1, 16, 16, dtype=torch.float64)
    for pooling, affine in (("average", True), ("max", False)):
        net = lenet(pooling=pooling, activation="identity", init="default").double()
        assert torch.allclose(net((x + y) / 2), (net(x) + net(y)) / 2) == affine


def test_activation_and_pooling_are_those_asked_for() -> None:
    for activation, kind in (("relu", nn.ReLU), ("sigmoid", nn.Sigmoid), ("tanh", nn.Tanh), ("prelu", nn.PReLU)):
        assert sum(isinstance(m, kind) for m in lenet(activation=activation).modules()) == 4
    assert sum(isinstance(m, nn.MaxPool2d) for m in lenet().modules()) == 2


def test_gradients_reach_every_parameter(without_gradient: Callable[..., list[str]]) -> None:
    torch.manual_seed(0)
    for activation in ("relu", "prelu", "sigmoid"):
        for pooling in ("max", "average"):
            assert without_gradient(lenet(activation=activation, pooling=pooling)) == []


def test_a_batch_can_be_learnt_by_heart(learns_by_heart: Callable[..., bool]) -> None:
    torch.manual_seed(0)
    assert learns_by_heart(lenet())


def test_xavier_biases_are_zero_and_the_default_ones_are_not() -> None:
    assert not any(p.any() for name, p in lenet().named_parameters() if name.endswith("bias"))
    assert all(p.any() for name, p in lenet(init="default").named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "rleu"}, "model.activation must be one of relu, .* got 'rleu'"),
        ({"pooling": "mean"}, "model.pooling must be max or average, got 'mean'"),
        ({"init": "zeros"}, "model.init must be xavier or default, got 'zeros'"),
    ],
)
def test_nonsense_is_refused_with_key_and_value(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        lenet(**change)


def test_a_checkpoint_opens_with_nothing_else_at_hand(reopened: Callable[..., dict[str, Any]]) -> None:
    assert reopened(lenet(pooling="average", optimizer=lambda p: torch.optim.SGD(p, lr=0.1))) == {
        "in_channels": 1,
        "image_size": 16,
        "num_classes": 4,
        "activation": "relu",
        "pooling": "average",
        "init": "xavier",
        "label_smoothing": 0.0,
        "channels_last": "auto",
        "compile": False,
    }
