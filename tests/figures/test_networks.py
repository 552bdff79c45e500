"""Costs by hand and as torchvision publishes them; filters and outputs of small networks."""

import pytest
import torch
from torch import nn
from torchvision import models

from imgclf.errors import InputError
from imgclf.figures.networks import Stage, draw_feature_maps, draw_filters, outputs, stages
from imgclf.models.classifier import Classifier
from imgclf.models.lenet import LeNet


def test_lenet_by_hand() -> None:
    net = LeNet(in_channels=1, image_size=28, num_classes=10)
    assert stages(net, depth=1) == [
        Stage("net", "Sequential", "10", 61_706, 416_520),
        Stage("conv1", "Sequential", "6 x 14 x 14", 6 * 25 + 6, 28 * 28 * 6 * 25),
        Stage("conv2", "Sequential", "16 x 5 x 5", 16 * 6 * 25 + 16, 10 * 10 * 16 * 6 * 25),
        Stage("dense1", "Sequential", "120", 400 * 120 + 120, 400 * 120),
        Stage("dense2", "Sequential", "84", 120 * 84 + 84, 120 * 84),
        Stage("linear", "Linear", "10", 84 * 10 + 10, 84 * 10),
    ]
    assert Stage("conv1.2", "MaxPool2d", "6 x 14 x 14", 0, 0) in stages(net, depth=2)


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "mobilenet_v2", "vit_b_16"])
def test_as_published_by_torchvision(name: str) -> None:
    published = models.get_model_weights(name).IMAGENET1K_V1.meta
    with torch.device("meta"):
        model = Classifier(models.get_model(name), in_channels=3, image_size=224, num_classes=1000)
    (whole,) = stages(model.to("meta"), depth=0)
    assert whole.parameters == published["num_params"]
    assert whole.multiply_adds / 1e9 == pytest.approx(published["_ops"], rel=0.01)


def test_filters_are_of_a_convolution_or_the_rows_of_a_linear_layer() -> None:
    for layer, title in (
        (nn.Conv2d(3, 6, 5), "6 of 6 filters of 3×5×5"),
        (nn.Conv2d(4, 70, 3), "64 of 70 filters of 4×3×3"),
        (nn.Linear(3 * 8 * 8, 256), "64 of 256 filters of 3×8×8"),
    ):
        (axes,) = draw_filters(nn.Sequential(nn.Flatten(), layer), (3, 8, 8)).axes
        assert axes.get_title().startswith(title)
    with pytest.raises(InputError, match="choose a run of another network"):
        draw_filters(nn.Sequential(nn.Linear(5, 2)), (1, 2, 2))


@torch.no_grad()
def test_outputs_are_those_before_later_layers_work_in_place_and_are_drawn() -> None:
    block = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True))
    net, images = nn.Sequential(block, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4)).eval(), torch.rand(2, 1, 8, 8)
    found = outputs(net, images, ["3", "0.0"])
    assert list(found) == ["0.0", "3"]
    assert torch.equal(found["0.0"], block[0](images))
    assert torch.equal(found["3"], net(images))
    figure = draw_feature_maps((255 * images).to(torch.uint8), ["cat", "dog"], found, channels=2)
    titles = ["0.0\n2 of 3 maps, 6×6", "3\n4 values"]
    assert [axes.get_title() for axes in figure.axes] == ["cat", *titles, "dog", *titles]
