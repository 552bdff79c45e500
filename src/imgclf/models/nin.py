"""Network in Network (Lin et al. 2014; Zhang et al., Dive into Deep Learning, chapter on NiN).

Legend: n images, c channels, h = w pixels, k classes.
"""

from typing import Any

from torch import nn

from imgclf.errors import InputError
from imgclf.models.classifier import Classifier
from imgclf.models.initialisation import Init, initialise


class NiN(Classifier):
    """Four blocks of a convolution and two 1x1 convolutions, the last with one channel a class, and the mean of each.

    ``net`` names its parts; for an image of 1x96x96 and 10 classes, with 1,992,166 parameters in all, they give

    - ``b1``: block of 11x11, stride 4, and 3x3 max-pool of stride 2: (n, 96, 10, 10)
    - ``b2``: block of 5x5, padded, and max-pool: (n, 256, 4, 4)
    - ``b3``: block of 3x3, padded, and max-pool: (n, 384, 1, 1)
    - ``b4``: dropout and block of 3x3, padded: (n, k, 1, 1)
    - ``pool``: mean over all pixels: (n, k)

    In the chapter the last block ends in a ReLU like the others. A class whose logit is zero for every image then has
    no gradient of its own. The smallest image has 67 x 67 pixels; made for 224.

    Args:
        in_channels: c of the images.
        image_size: height and width of the images in pixels.
        num_classes: k.
        dropout: probability of zeroing an input of the last block in training, in [0, 1).
        last_relu: whether a ReLU follows the very last convolution, as in the chapter.
        init: ``xavier`` (uniform, Glorot & Bengio 2010; biases zero) or ``default`` (torch's own).
        training: ``label_smoothing`` and ``optimizer`` of :class:`Classifier`.

    Raises:
        InputError: a value is out of its range, or the images are too small.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        dropout: float = 0.5,
        last_relu: bool = True,
        init: Init = "xavier",
        **training: Any,
    ) -> None:
        if not 0 <= dropout < 1:
            raise InputError(f"model.dropout must lie in [0, 1), got {dropout}")
        net = nn.Sequential()
        net.add_module("b1", nn.Sequential(*_block(in_channels, 96, kernel_size=11, stride=4), _halving()))
        net.add_module("b2", nn.Sequential(*_block(96, 256, kernel_size=5, padding=2), _halving()))
        net.add_module("b3", nn.Sequential(*_block(256, 384, kernel_size=3, padding=1), _halving()))
        last = _block(384, num_classes, kernel_size=3, padding=1)
        net.add_module("b4", nn.Sequential(nn.Dropout(dropout), *(last if last_relu else last[:-1])))
        net.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        initialise(net, init)
        super().__init__(net, in_channels=in_channels, image_size=image_size, num_classes=num_classes, **training)


def _block(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    """A convolution, then a perceptron of two layers at every pixel: 1x1 convolutions; ReLU after all three."""
    return [
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, kernel_size=1),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, kernel_size=1),
        nn.ReLU(),
    ]


def _halving() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=3, stride=2)
