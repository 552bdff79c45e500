"""Network in Network."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from imgclf.errors import InputError
from imgclf.models.nin import NiN


def nin(**changes: Any) -> NiN:
    return NiN(**{"in_channels": 1, "image_size": 67, "num_classes": 2} | changes)


def test_the_chapters_network_has_1992166_parameters(parameters: Callable[..., int]) -> None:
    assert [parameters(part) for part in nin(num_classes=10).net] == [
        121 * 96 + 96 + 2 * (96 * 96 + 96),
        25 * 96 * 256 + 256 + 2 * (256 * 256 + 256),
        9 * 256 * 384 + 384 + 2 * (384 * 384 + 384),
        9 * 384 * 10 + 10 + 2 * (10 * 10 + 10),
        0,
    ]
    assert parameters(nin(num_classes=10)) == 1_992_166


@pytest.mark.parametrize(("size", "sides"), [(224, (26, 12, 5, 5)), (96, (10, 4, 1, 1)), (67, (7, 3, 1, 1))])
def test_shape_after_each_part(size: int, sides: tuple[int, ...], shapes: Callable[..., Any]) -> None:
    model = nin(image_size=size, num_classes=10)
    assert shapes(model) == [(c, s, s) for c, s in zip((96, 256, 384, 10), sides, strict=True)] + [(10,)]
    assert [name for name, _ in model.net.named_children()] == ["b1", "b2", "b3", "b4", "pool"]


@pytest.mark.parametrize(("channels", "size", "classes"), [(3, 67, 10), (4, 80, 7)])
def test_images_become_one_logit_a_class(channels: int, size: int, classes: int) -> None:
    model = nin(in_channels=channels, image_size=size, num_classes=classes)
    assert model(torch.rand(2, channels, size, size)).shape == (2, classes)


@pytest.mark.parametrize("size", [1, 10, 28, 66])
def test_too_small_an_image_is_refused_with_the_smallest_that_works(size: int) -> None:
    # 67 -> 15 -> 7 -> 3 -> 1; 66 -> 14 -> 6 -> 2 -> nothing to pool
    message = rf"NiN cannot take images of 1x{size}x{size} .* data.resize, the smallest that fits is 67$"
    with pytest.raises(InputError, match=message):
        nin(image_size=size)


def test_a_block_looks_at_its_neighbours_in_its_first_convolution_only() -> None:
    kernels = [m.kernel_size[0] for m in nin().modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [11, 1, 1, 5, 1, 1, 3, 1, 1, 3, 1, 1]


def test_the_last_relu_cuts_off_negative_logits_and_can_be_left_out() -> None:
    torch.manual_seed(0)
    free = nin(num_classes=10, last_relu=False).eval()
    cut = nin(num_classes=10).eval()
    cut.load_state_dict(free.state_dict())
    x = torch.randn(8, 1, 67, 67)  # b4 gives one pixel, so that the mean over pixels changes nothing
    assert free(x).min() < 0
    assert torch.equal(cut(x), free(x).relu())


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    model, x = nin(last_relu=False), torch.rand(4, 1, 67, 67)
    assert torch.equal(model.eval()(x), model(x))
    assert not torch.equal(model.train()(x), model(x))
    still = nin(last_relu=False, dropout=0.0).train()
    assert torch.equal(still(x), still(x))


def test_gradients_reach_every_parameter(without_gradient: Callable[..., list[str]]) -> None:
    torch.manual_seed(0)
    assert without_gradient(nin(num_classes=10)) == []


def test_a_batch_can_be_learnt_by_heart(learns_by_heart: Callable[..., bool]) -> None:
    # The last three layers are as wide as there are classes: with a handful, their ReLUs let little through.
    torch.manual_seed(0)
    assert learns_by_heart(nin(num_classes=40, dropout=0.0, last_relu=False), batch_size=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dropout": 1.0}, r"model.dropout must lie in \[0, 1\), got 1.0"),
        ({"init": "zeros"}, "model.init must be xavier or default, got 'zeros'"),
    ],
)
def test_nonsense_is_refused_with_key_and_value(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        nin(**change)


def test_a_checkpoint_opens_with_nothing_else_at_hand(reopened: Callable[..., dict[str, Any]]) -> None:
    assert reopened(nin(dropout=0.2, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))) == {
        "in_channels": 1,
        "image_size": 67,
        "num_classes": 2,
        "dropout": 0.2,
        "last_relu": True,
        "init": "xavier",
        "label_smoothing": 0.0,
        "channels_last": "auto",
        "compile": False,
    }
