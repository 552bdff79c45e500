"""Network in Network (Lin et al. 2014; Zhang et al., Dive into Deep Learning, chapter on NiN)."""

from collections import OrderedDict
from typing import Any

from torch import nn

from imgclf.models.classifier import Classifier
from imgclf.models.layers import Init, initialise
from imgclf.ranges import FractionBelow1


class NiN(Classifier):
    """Four blocks of a convolution and two 1x1 convolutions, the last with one channel a class, and the mean of each.

    ``net`` names its parts. An image of 1x96x96 becomes (96, 10, 10) in ``b1``, (256, 4, 4) in ``b2``, (384, 1, 1) in
    ``b3``, (10, 1, 1) in ``b4``, and 10 logits in ``pool``: 1,992,166 parameters. Made for 224 pixels, 67 at least.

    Args:
        dropout: probability of zeroing an input of the last block in training, in [0, 1).
        last_relu: whether a ReLU follows the very last convolution, as in the chapter; a class whose logit is zero for
            every image then has no gradient of its own.
        init: ``xavier`` (uniform, Glorot & Bengio 2010; biases zero) or ``default`` (torch's own).
        in_channels, image_size, num_classes, training: see :class:`Classifier`.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        dropout: FractionBelow1 = 0.5,
        last_relu: bool = True,
        init: Init = "xavier",
        **training: Any,
    ) -> None:
        parts = {
            "b1": nn.Sequential(*_block(in_channels, 96, kernel_size=11, stride=4), nn.MaxPool2d(3, stride=2)),
            "b2": nn.Sequential(*_block(96, 256, kernel_size=5, padding=2), nn.MaxPool2d(3, stride=2)),
            "b3": nn.Sequential(*_block(256, 384, kernel_size=3, padding=1), nn.MaxPool2d(3, stride=2)),
            "b4": nn.Sequential(nn.Dropout(dropout), *_block(384, num_classes, kernel_size=3, padding=1)),
            "pool": nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        }
        if not last_relu:
            del parts["b4"][-1]
        net = nn.Sequential(OrderedDict(parts))
        initialise(net, init)
        super().__init__(net, in_channels=in_channels, image_size=image_size, num_classes=num_classes, **training)


def _block(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    """A convolution, then a perceptron of two layers at every pixel: 1x1 convolutions; ReLU after all three."""
    first = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding)
    others = [nn.Conv2d(out_channels, out_channels, kernel_size=1) for _ in range(2)]
    return [layer for convolution in (first, *others) for layer in (convolution, nn.ReLU())]
