"""Parameters and multiplications of a network are what torchvision publishes."""

import pytest
import torch
from torchvision import models

from imgclf.figures.networks import stages
from imgclf.models.classifier import Classifier


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16"])
def test_as_published_by_torchvision(name: str) -> None:
    published = models.get_model_weights(name).IMAGENET1K_V1.meta
    with torch.device("meta"):
        model = Classifier(models.get_model(name), in_channels=3, image_size=224, num_classes=1000)
    (whole,) = stages(model.to("meta"), depth=0)
    assert whole.parameters == published["num_params"]
    assert whole.multiply_adds / 1e9 == pytest.approx(published["_ops"], rel=0.01)
