"""ResNet-18 (He et al. 2016; Zhang et al., Dive into Deep Learning, chapters on ResNet and on CIFAR-10)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor, nn

from imgclf.models.classifier import Classifier
from imgclf.models.layers import Init, initialise
from imgclf.ranges import AtLeast1


class Residual(nn.Module):
    """ReLU(F(x) + x), where F is 3x3 convolution, BN, ReLU, 3x3 convolution, BN.

    (n, in_channels, h, w) -> (n, out_channels, ceil(h / stride), ceil(w / stride)). Where F changes the shape, x
    goes through a 1x1 convolution of the same stride, without BN: the chapter's form, not that of the paper and of
    torchvision. No convolution has a bias, which BN would subtract again.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.residual(x) + self.shortcut(x))


class ResNet18(Classifier):
    """``stem``, ``stage1`` ... ``stage4`` of two residual blocks each, ``pool`` (mean over all pixels), ``linear``.

    The stages have 64, 128, 256 and 512 channels; each but the first halves height and width. With 3 channels and 10
    classes it has 11,172,170 parameters with the small stem and 11,179,850 with the other. Any image from 1 pixel on
    goes through; below some 32 pixels (small) or 96 (imagenet) little of it is left for the last stages to look at.

    Args:
        stem: ``small`` (3x3 convolution of stride 1, BN, ReLU) or ``imagenet`` (7x7 convolution of stride 2, BN, ReLU,
            3x3 max-pool of stride 2: stage 1 sees h/4 x w/4; made for 224 pixels).
        widths: channels of each stage, one each; others than the default make a relative of ResNet-18.
        blocks: residual blocks a stage.
        init: ``xavier`` (uniform, Glorot & Bengio 2010) or ``default`` (torch's own).
        in_channels, image_size, num_classes, training: see :class:`Classifier`.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        stem: Literal["small", "imagenet"] = "small",
        widths: Annotated[Sequence[AtLeast1], Field(min_length=1)] = (64, 128, 256, 512),
        blocks: AtLeast1 = 2,
        init: Init = "xavier",
        **training: Any,
    ) -> None:
        kernel, stride = (3, 1) if stem == "small" else (7, 2)
        first = nn.Conv2d(in_channels, widths[0], kernel, stride, padding=kernel // 2, bias=False)
        pool = [nn.MaxPool2d(kernel_size=3, stride=2, padding=1)] if stem == "imagenet" else []
        net = nn.Sequential()
        net.add_module("stem", nn.Sequential(first, nn.BatchNorm2d(widths[0]), nn.ReLU(), *pool))
        for number, (before, width) in enumerate(pairwise((widths[0], *widths)), start=1):
            entry = Residual(before, width, stride=1 if number == 1 else 2)
            net.add_module(f"stage{number}", nn.Sequential(entry, *(Residual(width, width) for _ in range(blocks - 1))))
        net.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        net.add_module("linear", nn.Linear(widths[-1], num_classes))
        initialise(net, init)
        super().__init__(net, in_channels=in_channels, image_size=image_size, num_classes=num_classes, **training)
