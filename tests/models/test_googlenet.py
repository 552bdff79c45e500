"""GoogLeNet and its three switches."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from imgclf.errors import InputError
from imgclf.models.googlenet import STAGES, GoogLeNet, Inception, Widths

SWITCHES = ("batch_norm", "factorised", "residual")
PLAIN = dict.fromkeys(SWITCHES, False)
SMALL = Widths(2, (3, 4), (2, 3), 1)  # 10 channels


def googlenet(**changes: Any) -> GoogLeNet:
    return GoogLeNet(**{"in_channels": 1, "image_size": 16, "num_classes": 2} | changes)


def block(in_channels: int = 5, widths: Widths = SMALL, scale: float = 1.0, **switches: bool) -> Inception:
    torch.manual_seed(0)
    return Inception(in_channels, widths, **PLAIN | switches, residual_scale=scale)


def test_the_chapters_network_has_its_shapes_and_parameters(
    shapes: Callable[..., Any], parameters: Callable[..., int]
) -> None:
    model = googlenet(image_size=96, num_classes=10)
    assert shapes(model) == [(64, 24, 24), (192, 12, 12), (480, 6, 6), (832, 3, 3), (1024,), (10,)]
    assert [name for name, _ in model.net.named_children()] == ["b1", "b2", "b3", "b4", "b5", "linear"]
    assert parameters(model) == 5_977_530


def test_parameters_of_a_block_by_hand(parameters: Callable[..., int]) -> None:
    # paths of 1x1 (5 -> 2), 1x1 and 3x3 (5 -> 3 -> 4), 1x1 and 5x5 (5 -> 2 -> 3), 1x1 (5 -> 1), each with biases
    ones = (5 * 2 + 2) + (5 * 3 + 3) + (5 * 2 + 2) + (5 * 1 + 1)
    assert parameters(block()) == ones + (9 * 3 * 4 + 4) + (25 * 2 * 3 + 3) == 313
    # 1x3 (3 -> 3), 3x1 (3 -> 4); 3x3 (2 -> 2), 3x3 (2 -> 3)
    factors = (3 * 3 * 3 + 3) + (3 * 3 * 4 + 4) + (9 * 2 * 2 + 2) + (9 * 2 * 3 + 3)
    assert parameters(block(factorised=True)) == ones + factors == 213
    # a shortcut 5 -> 10 without bias
    assert parameters(block(residual=True)) == 313 + 50
    assert parameters(block(in_channels=10, residual=True)) == parameters(block(in_channels=10))
    # BN's scale and shift in place of a bias for each of the 2 + 3 + 4 + 2 + 3 + 1 channels
    assert parameters(block(batch_norm=True)) == 313 + 15


def test_parameters_of_each_form_by_hand(parameters: Callable[..., int]) -> None:
    blocks = [widths for stage in STAGES.values() for widths in stage]
    saved, added, channels = 0, 0, 192
    for widths in blocks:
        (a, b), (c, d) = widths.path2, widths.path3
        saved += (9 * a * b + b) - (3 * a * a + a + 3 * a * b + b)
        saved += (25 * c * d + d) - (9 * c * c + c + 9 * c * d + d)
        added += channels * widths.total * (channels != widths.total)
        channels = widths.total
    assert (saved, added) == (1_782_976, 1_979_392)
    assert parameters(googlenet(num_classes=10, factorised=True)) == 5_977_530 - saved == 4_194_554
    assert parameters(googlenet(num_classes=10, residual=True)) == 5_977_530 + added == 7_956_922
    convolved = 64 + 64 + 192 + sum(w.path1 + sum(w.path2) + sum(w.path3) + w.path4 for w in blocks)
    assert parameters(googlenet(num_classes=10, batch_norm=True)) == 5_977_530 + convolved == 5_984_810


@pytest.mark.parametrize("switch", [None, *SWITCHES])
def test_a_block_keeps_height_and_width_and_is_not_negative(switch: str | None) -> None:
    y = block(**({switch: True} if switch else {}))(torch.randn(3, 5, 7, 6))
    assert y.shape == (3, 10, 7, 6)
    assert y.min() == 0 < y.max()


def test_one_relu_after_joining_does_what_one_at_the_end_of_each_path_does() -> None:
    inception, x = block(), torch.randn(2, 5, 6, 6)
    paths = (inception.path1, inception.path2, inception.path3, inception.path4)
    assert torch.equal(inception(x), torch.cat([F.relu(path(x)) for path in paths], dim=1))


@pytest.mark.parametrize("path", ["path1", "path2", "path3", "path4"])
def test_a_path_whose_last_weights_are_zero_gives_nothing_and_leaves_the_others_alone(path: str) -> None:
    inception, x = block(), torch.randn(2, 5, 6, 6)
    before = inception(x)
    last = [m for m in inception.get_submodule(path).modules() if isinstance(m, nn.Conv2d)][-1]
    for p in last.parameters():
        nn.init.zeros_(p)
    start, stop = {"path1": (0, 2), "path2": (2, 6), "path3": (6, 9), "path4": (9, 10)}[path]
    before[:, start:stop] = 0
    assert torch.equal(inception(x), before)


def test_factorised_paths_see_as_many_pixels_as_plain_ones() -> None:
    x = torch.zeros(1, 5, 9, 9)
    x[:, :, 4, 4] = 1
    for factorised in (False, True):
        inception = block(factorised=factorised)
        for name, p in inception.named_parameters():
            nn.init.constant_(p, 0 if name.endswith("bias") else 1)
        for path, side in (("path2", 3), ("path3", 5)):
            seen = inception.get_submodule(path)(x)[0, 0] > 0
            expected = torch.zeros(9, 9, dtype=torch.bool)
            expected[4 - side // 2 : 5 + side // 2, 4 - side // 2 : 5 + side // 2] = True
            assert torch.equal(seen, expected), (factorised, path)


def test_a_residual_block_of_zero_weights_passes_its_input_through_the_relu() -> None:
    inception, x = block(in_channels=10, residual=True), torch.randn(2, 10, 6, 6)
    for p in inception.parameters():
        nn.init.zeros_(p)
    assert torch.equal(inception(x), F.relu(x))
    widened, x = block(residual=True), torch.randn(2, 5, 6, 6)
    for name, p in widened.named_parameters():
        if name != "shortcut.weight":
            nn.init.zeros_(p)
    torch.testing.assert_close(widened(x), F.relu(widened.shortcut(x)))


def test_the_paths_of_a_residual_block_are_scaled_and_its_input_is_not() -> None:
    x = torch.rand(2, 10, 6, 6) + 1
    full, fifth = (block(in_channels=10, residual=True, scale=scale) for scale in (1.0, 0.2))
    paths = torch.cat([path(x) for path in (full.path1, full.path2, full.path3, full.path4)], dim=1)
    torch.testing.assert_close(full(x), F.relu(x + paths))
    torch.testing.assert_close(fifth(x), F.relu(x + paths / 5))


def test_with_all_switches_the_first_steps_do_not_blow_up() -> None:
    torch.manual_seed(0)
    model = googlenet(**dict.fromkeys(SWITCHES, True), image_size=64, num_classes=10)
    images, labels = torch.rand(32, 1, 64, 64), torch.arange(32) % 10
    optimizer, losses = torch.optim.SGD(model.parameters(), 0.1), []
    for _ in range(6):
        losses.append(F.cross_entropy(model(images), labels))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert max(loss.item() for loss in losses) < 6, losses  # 42 where the paths are added in full


@pytest.mark.parametrize("scale", [0.0, -0.2, 1.5])
def test_a_scale_out_of_its_range_is_refused(scale: float) -> None:
    with pytest.raises(InputError, match=rf"model.residual_scale must lie in \(0, 1\], got {scale}"):
        googlenet(residual_scale=scale)


def test_only_blocks_that_change_the_number_of_channels_convolve_their_shortcut() -> None:
    shortcuts = [m.shortcut for m in googlenet(residual=True).modules() if isinstance(m, Inception)]
    # 192 -> 256 -> 480; 480 -> 512 -> 512 -> 512 -> 528 -> 832; 832 -> 832 -> 1024
    convolves = [True, True, True, False, False, True, True, False, True]
    assert [isinstance(s, nn.Conv2d) for s in shortcuts] == convolves


def test_batch_norm_follows_every_convolution() -> None:
    layers = [m for m in googlenet(batch_norm=True).modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.ReLU)]
    kinds = [type(layer) for layer in layers if not isinstance(layer, nn.ReLU)]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d] * (3 + 9 * 6)
    assert all(layer.bias is None for layer in layers if isinstance(layer, nn.Conv2d))


@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 1, 2), (3, 33, 10), (4, 28, 7)])
def test_images_of_any_size_become_one_logit_a_class(channels: int, size: int, classes: int) -> None:
    model = googlenet(in_channels=channels, image_size=size, num_classes=classes, batch_norm=True, factorised=True)
    assert model(torch.rand(2, channels, size, size)).shape == (2, classes)


def test_no_image_at_all_is_refused() -> None:
    with pytest.raises(InputError, match=r"GoogLeNet cannot take images of 1x0x0 .* the smallest that fits is 1$"):
        googlenet(image_size=0)


def test_batch_norm_can_train_on_a_single_image_from_33_pixels_on() -> None:
    label = torch.tensor([0])
    googlenet(image_size=33, batch_norm=True).training_step((torch.rand(1, 1, 33, 33), label), 0)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        googlenet(image_size=32, batch_norm=True).training_step((torch.rand(1, 1, 32, 32), label), 0)


@pytest.mark.parametrize("switch", [None, *SWITCHES])
def test_gradients_reach_every_parameter(switch: str | None, without_gradient: Callable[..., list[str]]) -> None:
    torch.manual_seed(0)
    assert without_gradient(googlenet(image_size=32, **({switch: True} if switch else {}))) == []


@pytest.mark.parametrize("switches", [(), SWITCHES])
def test_a_batch_can_be_learnt_by_heart(switches: tuple[str, ...], learns_by_heart: Callable[..., bool]) -> None:
    torch.manual_seed(0)
    assert learns_by_heart(googlenet(**dict.fromkeys(switches, True)))


def test_an_unknown_initialisation_is_refused() -> None:
    with pytest.raises(InputError, match=r"model.init must be xavier or default, got 'zeros'"):
        googlenet(init="zeros")


def test_a_checkpoint_opens_with_nothing_else_at_hand(reopened: Callable[..., dict[str, Any]]) -> None:
    assert reopened(googlenet(**dict.fromkeys(SWITCHES, True), optimizer=lambda p: torch.optim.SGD(p, lr=0.1))) == {
        "in_channels": 1,
        "image_size": 16,
        "num_classes": 2,
        "batch_norm": True,
        "factorised": True,
        "residual": True,
        "residual_scale": 0.2,
        "init": "xavier",
        "label_smoothing": 0.0,
        "channels_last": "auto",
        "compile": False,
    }
