"""Each network by its shapes, its parameters, what it learns, and a property or two of its own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import quiet_trainer
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torchvision.models import resnet18

from imgclf.errors import InputError
from imgclf.models.classifier import Classifier
from imgclf.models.googlenet import GoogLeNet, Inception
from imgclf.models.lenet import LeNet
from imgclf.models.mlp import MLP
from imgclf.models.nin import NiN
from imgclf.models.resnet import ResNet18

ALL = dict.fromkeys(("batch_norm", "factorised", "residual"), True)


def net(kind: type[Classifier], channels: int = 1, size: int = 16, classes: int = 4, **changes: Any) -> Any:
    torch.manual_seed(0)
    return kind(**{"in_channels": channels, "image_size": size, "num_classes": classes} | changes)


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


INCEPTIONS = "64x24x24 192x12x12 480x6x6 832x3x3 1024 10"
STEMS = {
    "small": "64x32x32 64x32x32 128x16x16 256x8x8 512x4x4",
    "imagenet": "64x24x24 64x24x24 128x12x12 256x6x6 512x3x3",
}


@pytest.mark.parametrize(
    ("kind", "changes", "image", "shapes", "parameters", "weight"),
    [
        # 784 * 256 + 256 + 256 * 10 + 10
        (MLP, {}, (1, 28), "784 256 256 10", 203_530, "net.3.bias"),
        # 156 + 2,416 + 48,120 + 10,164 + 850
        (LeNet, {}, (1, 28), "6x14x14 16x5x5 120 84 10", 61_706, "net.dense1.1.bias"),
        (LeNet, {}, (3, 15), "6x7x7 16x1x1 120 84 10", 15_926, "net.linear.bias"),
        (NiN, {}, (1, 96), "96x10x10 256x4x4 384x1x1 10x1x1 10", 1_992_166, "net.b4.1.bias"),
        (NiN, {}, (1, 224), "96x26x26 256x12x12 384x5x5 10x5x5 10", 1_992_166, "net.b1.0.bias"),
        (GoogLeNet, {}, (1, 96), INCEPTIONS, 5_977_530, "net.b3.0.path2.2.bias"),
        # BN: a scale and a shift in place of a bias for each of the 7,280 channels of convolutions
        (GoogLeNet, {"batch_norm": True}, (1, 96), INCEPTIONS, 5_984_810, "net.b4.0.path3.4.running_mean"),
        (GoogLeNet, {"factorised": True}, (1, 96), INCEPTIONS, 4_194_554, "net.b3.0.path2.4.weight"),
        (GoogLeNet, {"residual": True}, (1, 96), INCEPTIONS, 7_956_922, "net.b5.1.shortcut.weight"),
        (ResNet18, {}, (3, 32), f"{STEMS['small']} 512 10", 11_172_170, "net.stage2.0.shortcut.weight"),
        # 7x7 in place of 3x3
        (ResNet18, {"stem": "imagenet"}, (3, 96), f"{STEMS['imagenet']} 512 10", 11_179_850, "net.stem.0.weight"),
        # 432 + 96; 41,472 + 192; 124,416 + 4,608 + 384; 497,664 + 18,432 + 768; 1,032,192 + 49,152 + 1,024; 2,570
        (
            ResNet18,
            {"widths": (48, 96, 192, 256), "blocks": 1},
            (1, 28),
            "48x28x28 48x28x28 96x14x14 192x7x7 256x4x4 256 10",
            1_773_402,
            "net.stage4.0.residual.4.bias",
        ),
    ],
)
def test_a_network_has_the_chapters_shapes_and_parameters_and_its_checkpoints_names(
    kind: Any, changes: Any, image: Any, shapes: str, parameters: int, weight: str
) -> None:
    model = net(kind, *image, classes=10, **changes)
    x, found = model.example_input_array, []
    with torch.no_grad():
        for part in model.net.eval().children():
            x = part(x)
            found.append("x".join(map(str, x.shape[1:])))
    assert " ".join(found) == shapes
    assert count(model) == parameters
    assert weight in model.state_dict()


SMALL = [
    (MLP, {"hidden_sizes": [8, 5], "activation": "tanh"}),
    (MLP, {"hidden_sizes": [], "init": "default"}),
    (LeNet, {"activation": "prelu"}),
    (LeNet, {"pooling": "average"}),
    (NiN, {"size": 67, "classes": 10, "dropout": 0.0, "last_relu": False}),
    (GoogLeNet, {"size": 33}),
    (GoogLeNet, ALL | {"size": 33, "residual_scale": 0.1}),
    (ResNet18, {"channels": 3}),
    (ResNet18, {"size": 33, "stem": "imagenet"}),
]


@pytest.mark.parametrize(("kind", "changes"), SMALL)
def test_training_reaches_every_parameter_and_lowers_the_loss(kind: Any, changes: dict[str, Any]) -> None:
    model = net(kind, **changes)
    x = torch.randn(8, *model.input_shape[1:], generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % model.num_classes
    optimizer, losses = torch.optim.Adam(model.parameters(), 1e-3), []
    for _ in range(3):
        optimizer.zero_grad()
        losses.append(model.training_step((x, labels), 0))
        losses[-1].backward()
        assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
        optimizer.step()
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("kind", "changes"), [SMALL[0], SMALL[3], SMALL[4], SMALL[6], SMALL[8]])
def test_a_checkpoint_opens_with_nothing_else_at_hand(kind: Any, changes: dict[str, Any], tmp_path: Path) -> None:
    model, file = net(kind, **changes, optimizer=lambda p: torch.optim.SGD(p, lr=0.1)), tmp_path / "net.ckpt"
    trainer = quiet_trainer(max_epochs=0)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(file)
    kept = torch.load(file, weights_only=True)["hyper_parameters"]
    assert {"in_channels", "image_size", "num_classes", "init", "label_smoothing", "channels_last"} < kept.keys()
    assert kept | {key: value for key, value in changes.items() if key in kept} == kept
    again = kind.load_from_checkpoint(file, weights_only=True)
    images = torch.rand(2, *model.input_shape[1:])
    assert torch.equal(again.eval()(images), model.eval()(images))


@pytest.mark.parametrize("kind", [MLP, LeNet, GoogLeNet, ResNet18])
def test_xavier_weights_keep_to_their_bound_and_biases_are_zero(kind: Any) -> None:
    for layer in net(kind).modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            outputs, inputs, *kernel = layer.weight.shape
            bound = (6 / (inputs + outputs) / torch.tensor(kernel).prod().item()) ** 0.5
            assert 0.5 * bound < layer.weight.abs().max() <= bound
            assert layer.bias is None or not layer.bias.any()
    assert any(p.any() for name, p in net(kind, init="default").named_parameters() if name.endswith("bias"))


@pytest.mark.parametrize(
    ("kind", "changes", "named"),
    [
        (MLP, {"activation": "rleu"}, "model.activation='rleu': .*'relu'"),
        (MLP, {"init": "zeros"}, "model.init='zeros': .*'xavier' or 'default'"),
        (MLP, {"dropout": 1.0}, "model.dropout=1.0: .*less than 1"),
        (MLP, {"hidden_sizes": [8, 0]}, r"model.hidden_sizes=\[8, 0\]: .*greater than or equal to 1"),
        (MLP, {"label_smoothing": 1.0}, "model.label_smoothing=1.0: .*less than 1"),
        (LeNet, {"pooling": "mean"}, "model.pooling='mean': .*'max' or 'average'"),
        (NiN, {"size": 67, "dropout": -0.1}, "model.dropout=-0.1: .*greater than or equal to 0"),
        (GoogLeNet, {"residual_scale": 0.0}, "model.residual_scale=0.0: .*greater than 0"),
        (ResNet18, {"stem": "tiny"}, "model.stem='tiny': .*'small' or 'imagenet'"),
        # 12 -> 6 -> 2 -> 1, 11 -> 5 -> 1 -> nothing to pool; 67 -> 15 -> 7 -> 3 -> 1, 66 -> 14 -> 6 -> 2 -> nothing
        (LeNet, {"size": 11}, "LeNet cannot take images of 1x11x11 .* data.resize, the smallest that fits is 12$"),
        (NiN, {"size": 66}, "NiN cannot take images of 1x66x66 .* data.resize, the smallest that fits is 67$"),
    ],
)
def test_nonsense_is_refused_with_key_value_and_range(kind: Any, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        net(kind, **changes)


@pytest.mark.parametrize(
    ("kind", "channels", "size"),
    [(LeNet, 3, 12), (NiN, 4, 67), (GoogLeNet, 4, 1), (ResNet18, 1, 1), (ResNet18, 4, 17), (MLP, 3, 1)],
)
def test_images_of_any_size_from_the_smallest_on_become_one_logit_a_class(kind: Any, channels: int, size: int) -> None:
    assert net(kind, channels, size, 7)(torch.rand(2, channels, size, size)).shape == (2, 7)


def test_without_activation_an_mlp_is_one_affine_map_by_the_product_of_its_matrices() -> None:
    model = net(MLP, hidden_sizes=[8, 5], activation="identity", init="default").double()
    x, y = torch.randn(2, 5, 1, 16, 16, dtype=torch.float64)
    product = model.net[5].weight @ model.net[3].weight @ model.net[1].weight
    torch.testing.assert_close(model(x) - model(y), (x - y).flatten(1) @ product.T)


def test_activations_and_max_pooling_bend_and_average_pooling_does_not() -> None:
    x, y = torch.randn(2, 20, 1, 16, 16, dtype=torch.float64)

    def is_affine(model: Classifier) -> bool:
        return torch.allclose(model.double()((x + y) / 2), (model(x) + model(y)) / 2)

    assert not any(is_affine(net(MLP, activation=name)) for name in ("relu", "prelu", "sigmoid", "tanh"))
    assert is_affine(net(LeNet, activation="identity", pooling="average"))
    assert not is_affine(net(LeNet, activation="identity", pooling="max"))


@pytest.mark.parametrize(("kind", "changes"), [(MLP, {}), (NiN, {"size": 67, "last_relu": False})])
def test_dropout_acts_in_training_only(kind: Any, changes: dict[str, Any]) -> None:
    model = net(kind, **changes, dropout=0.5)
    x = torch.rand(4, *model.input_shape[1:])
    assert torch.equal(model.eval()(x), model(x))
    assert not torch.equal(model.train()(x), model(x))


def test_the_last_relu_of_nin_cuts_off_negative_logits() -> None:
    free, cut = (net(NiN, size=67, last_relu=last).eval() for last in (False, True))
    x = torch.randn(8, 1, 67, 67)  # b4 gives one pixel, so that the mean over pixels changes nothing
    assert free(x).min() < 0
    assert torch.equal(cut(x), free(x).relu())


def block(in_channels: int = 5, scale: float | None = None, **switches: bool) -> Inception:
    torch.manual_seed(0)
    switches = {"batch_norm": False, "factorised": False} | switches
    return Inception(in_channels, (2, (3, 4), (2, 3), 1), **switches, residual_scale=scale)  # 10 channels


def joined(inception: Inception, x: Tensor) -> Tensor:
    return torch.cat([path(x) for path in (inception.path1, inception.path2, inception.path3, inception.path4)], dim=1)


def test_an_inception_block_joins_its_paths_and_adds_what_came_in() -> None:
    x = torch.randn(2, 10, 7, 6)
    plain, scaled = block(10), block(10, scale=0.2)
    assert plain(x).shape == (2, 10, 7, 6)
    assert torch.equal(plain(x), F.relu(joined(plain, x)))
    torch.testing.assert_close(scaled(x), F.relu(x + joined(scaled, x) / 5))
    widened, y = block(5, scale=0.2), torch.randn(2, 5, 7, 6)
    torch.testing.assert_close(widened(y), F.relu(widened.shortcut(y) + joined(widened, y) / 5))


@pytest.mark.parametrize("factorised", [False, True])
def test_factorised_paths_see_as_many_pixels_as_plain_ones(factorised: bool) -> None:
    inception, x = block(factorised=factorised), torch.zeros(1, 5, 9, 9)
    x[:, :, 4, 4] = 1
    for name, p in inception.named_parameters():
        nn.init.constant_(p, 0 if name.endswith("bias") else 1)
    assert (inception.path2(x)[0, 0] > 0).nonzero().unique().tolist() == [3, 4, 5]
    assert (inception.path3(x)[0, 0] > 0).nonzero().unique().tolist() == [2, 3, 4, 5, 6]


def test_resnet_is_torchvisions_but_for_the_batch_norm_of_its_shortcuts() -> None:
    ours, theirs = net(ResNet18, 3, 64, 10, stem="imagenet").eval(), resnet18(num_classes=10).eval()
    target = {name: tensor for name, tensor in theirs.state_dict().items() if "downsample.1" not in name}
    theirs.load_state_dict(dict(zip(target, ours.state_dict().values(), strict=True)), strict=False)
    for name, module in theirs.named_modules():
        if name.endswith("downsample.1"):
            module.eps = 0.0  # does nothing then
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x))
