"""Each network by its shapes, its parameters, what it learns, and a property or two of its own."""

from typing import Any

import pytest
import torch
from torchvision.models import resnet18

import imgclf
from imgclf.build import built
from imgclf.errors import InputError
from imgclf.models.classifier import Classifier
from imgclf.models.googlenet import GoogLeNet
from imgclf.models.lenet import LeNet
from imgclf.models.mlp import MLP
from imgclf.models.nin import NiN
from imgclf.models.resnet import ResNet18


def net(kind: type[Classifier], channels: int = 1, size: int = 16, classes: int = 4, **changes: Any) -> Any:
    torch.manual_seed(0)
    return kind(**{"in_channels": channels, "image_size": size, "num_classes": classes} | changes)


THIN = {"widths": (48, 96, 192, 256), "blocks": 1}
INCEPTIONS = "64x24x24 192x12x12 480x6x6 832x3x3 1024 10"
STEMS = {
    "small": "64x32x32 64x32x32 128x16x16 256x8x8 512x4x4",
    "thin": "48x28x28 48x28x28 96x14x14 192x7x7 256x4x4",
    "imagenet": "64x24x24 64x24x24 128x12x12 256x6x6 512x3x3",
}


@pytest.mark.parametrize(
    ("kind", "changes", "image", "shapes", "parameters", "weight"),
    [
        # 784 * 256 + 256 + 256 * 10 + 10
        (MLP, {}, (1, 28), "784 256 256 10", 203_530, "net.3.bias"),
        # 156 + 2,416 + 48,120 + 10,164 + 850
        (LeNet, {}, (1, 28), "6x14x14 16x5x5 120 84 10", 61_706, "net.dense1.1.bias"),
        (NiN, {}, (1, 96), "96x10x10 256x4x4 384x1x1 10x1x1 10", 1_992_166, "net.b4.1.bias"),
        (GoogLeNet, {}, (1, 96), INCEPTIONS, 5_977_530, "net.b3.0.path2.2.bias"),
        # BN: a scale and a shift in place of a bias for each of the 7,280 channels of convolutions
        (GoogLeNet, {"batch_norm": True}, (1, 96), INCEPTIONS, 5_984_810, "net.b4.0.path3.4.running_mean"),
        (GoogLeNet, {"factorised": True}, (1, 96), INCEPTIONS, 4_194_554, "net.b3.0.path2.4.weight"),
        (GoogLeNet, {"residual": True}, (1, 96), INCEPTIONS, 7_956_922, "net.b5.1.shortcut.weight"),
        (ResNet18, {}, (3, 32), f"{STEMS['small']} 512 10", 11_172_170, "net.stage2.0.shortcut.weight"),
        # 7x7 in place of 3x3
        (ResNet18, {"stem": "imagenet"}, (3, 96), f"{STEMS['imagenet']} 512 10", 11_179_850, "net.stem.0.weight"),
        # 432 + 96; 41,472 + 192; 124,416 + 4,608 + 384; 497,664 + 18,432 + 768; 1,032,192 + 49,152 + 1,024; 2,570
        (ResNet18, THIN, (1, 28), f"{STEMS['thin']} 256 10", 1_773_402, "net.stage4.0.residual.4.bias"),
    ],
)
def test_the_chapters_shapes(kind: Any, changes: Any, image: Any, shapes: str, parameters: int, weight: str) -> None:
    model = net(kind, *image, classes=10, **changes)
    x, found = model.example_input_array, []
    with torch.no_grad():
        for part in model.net.eval().children():
            x = part(x)
            found.append("x".join(map(str, x.shape[1:])))
    assert " ".join(found) == shapes
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert weight in model.state_dict()


SMALL = [
    (MLP, {"hidden_sizes": [8, 5], "activation": "tanh"}),
    (MLP, {"hidden_sizes": [], "init": "default"}),
    (LeNet, {"activation": "prelu", "pooling": "average"}),
    (NiN, {"size": 67, "classes": 10, "dropout": 0.0, "last_relu": False}),
    (GoogLeNet, {"size": 33}),
    (GoogLeNet, {"size": 33, "batch_norm": True, "factorised": True, "residual": True, "residual_scale": 0.1}),
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


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ("model=mlp model.activation=rleu", "model.activation=rleu: .*'relu'"),
        ("model=mlp model.init=zeros", "model.init=zeros: .*'xavier' or 'default'"),
        ("model=mlp model.dropout=1.0", "model.dropout=1.0: .*less than 1"),
        ("model=mlp model.hidden_sizes=[8,0]", r"model.hidden_sizes=\[8, 0\]: .*greater than or equal to 1"),
        ("model=googlenet model.residual_scale=0.0", "model.residual_scale=0.0: .*greater than 0"),
        ("model=resnet18 model.stem=tiny", "model.stem=tiny: .*'small' or 'imagenet'"),
        # 67 -> 15 -> 7 -> 3 -> 1, 66 -> 14 -> 6 -> 2 -> nothing to pool
        ("model=nin data.resize=66", "NiN cannot take images of 1x66x66 .* data.resize, the smallest that fits is 67$"),
    ],
)
def test_nonsense_is_refused_with_key_value_and_range(changes: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        built(imgclf.compose(changes.split()), "model", optimizer=None)


def test_resnet_is_torchvisions_but_for_the_batch_norm_of_its_shortcuts() -> None:
    ours, theirs = net(ResNet18, 3, 64, 10, stem="imagenet").eval(), resnet18(num_classes=10).eval()
    target = {name: tensor for name, tensor in theirs.state_dict().items() if "downsample.1" not in name}
    theirs.load_state_dict(dict(zip(target, ours.state_dict().values(), strict=True)), strict=False)
    for name, module in theirs.named_modules():
        if name.endswith("downsample.1"):
            module.eps = 0.0  # does nothing then
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x))
