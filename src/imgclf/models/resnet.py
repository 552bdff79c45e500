"""ResNet-18 (He et al. 2016; Zhang et al., Dive into Deep Learning, chapters on ResNet and on CIFAR-10).

Legend: n images, c channels, h = w pixels, k classes.
"""

from typing import Any, Literal

from torch import Tensor, nn

from imgclf.errors import InputError
from imgclf.models.classifier import Classifier
from imgclf.models.initialisation import Init, initialise

Stem = Literal["small", "imagenet"]

WIDTHS = (64, 128, 256, 512)


class Residual(nn.Module):
    """ReLU(F(x) + x), where F is 3x3 convolution, BN, ReLU, 3x3 convolution, BN.

    (n, in_channels, h, w) -> (n, out_channels, ceil(h / stride), ceil(w / stride)). Where F changes the shape, x
    goes through a 1x1 convolution of the same stride, without BN: the chapter's form, not that of the paper and of
    torchvision. No convolution has a bias: BN subtracts the mean, and with it any constant before it, and the
    shortcut's would only add to the shift that F's last BN learns anyway.
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
    """Stem, four stages of two residual blocks, mean over all pixels, linear layer.

    The stages have 64, 128, 256 and 512 channels; each but the first halves height and width. ``net`` names its
    parts ``stem``, ``stage1`` ... ``stage4``, ``pool``, ``linear``. With 3 channels and 10 classes it has 11,172,170
    parameters with the small stem and 11,179,850 with the other. Any image from 1 pixel on goes through; below some
    32 pixels (small) or 96 (imagenet) little of it is left for the last stages to look at.

    Args:
        in_channels: c of the images.
        image_size: height and width of the images in pixels.
        num_classes: k.
        stem: ``small`` (3x3 convolution of stride 1, BN, ReLU: stage 1 sees h x w, made for 32 pixels) or
            ``imagenet`` (7x7 convolution of stride 2, BN, ReLU, 3x3 max-pool of stride 2: stage 1 sees h/4 x w/4,
            made for 224 pixels and good for 96).
        init: ``xavier`` (uniform, Glorot & Bengio 2010) or ``default`` (torch's own).
        training: ``label_smoothing`` and ``optimizer`` of :class:`Classifier`.

    Raises:
        InputError: a value is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        stem: Stem = "small",
        init: Init = "xavier",
        **training: Any,
    ) -> None:
        net = nn.Sequential()
        net.add_module("stem", _stem(stem, in_channels))
        before = WIDTHS[0]
        for number, width in enumerate(WIDTHS, start=1):
            first = Residual(before, width, stride=1 if number == 1 else 2)
            net.add_module(f"stage{number}", nn.Sequential(first, Residual(width, width)))
            before = width
        net.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        net.add_module("linear", nn.Linear(before, num_classes))
        initialise(net, init)
        super().__init__(net, in_channels=in_channels, image_size=image_size, num_classes=num_classes, **training)


def _stem(stem: Stem, in_channels: int) -> nn.Sequential:
    width = WIDTHS[0]
    if stem == "small":
        convolution = nn.Conv2d(in_channels, width, kernel_size=3, padding=1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())
    if stem == "imagenet":
        convolution = nn.Conv2d(in_channels, width, kernel_size=7, stride=2, padding=3, bias=False)
        pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(), pool)
    raise InputError(f"model.stem must be small or imagenet, got {stem!r}")
