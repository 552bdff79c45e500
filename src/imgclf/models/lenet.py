"""LeNet-5 in today's form (LeCun et al. 1998; Zhang et al., Dive into Deep Learning, learning-rate scheduling).

Legend: n images, c channels, h = w pixels, k classes.
"""

from typing import Any, Literal

from torch import nn

from imgclf.errors import InputError
from imgclf.models.activations import Activation, activation_class
from imgclf.models.classifier import Classifier
from imgclf.models.initialisation import Init, initialise

Pooling = Literal["max", "average"]

POOLINGS: dict[str, type[nn.Module]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


class LeNet(Classifier):
    """Two convolutions with pooling, three fully connected layers.

    ``net`` names its parts; for an image of 1x28x28 and 10 classes, with 61,706 parameters in all, they give

    - ``conv1``: 5x5 convolution that keeps h x w, activation, 2x2 pooling of stride 2: (n, 6, 14, 14)
    - ``conv2``: 5x5 convolution without padding, activation, pooling: (n, 16, 5, 5)
    - ``dense1``: flatten, linear, activation: (n, 120)
    - ``dense2``: linear, activation: (n, 84)
    - ``linear``: (n, k)

    Activation ``sigmoid`` and pooling ``average`` give the form nearest to that of 1998. The smallest image has
    12 x 12 pixels; the weights of ``dense1`` grow with the image.

    Args:
        in_channels: c of the images.
        image_size: height and width of the images in pixels.
        num_classes: k.
        activation: ``relu``, ``prelu`` (learnt slope, one a layer), ``sigmoid``, ``tanh`` or ``identity``.
        pooling: ``max`` or ``average``.
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
        activation: Activation = "relu",
        pooling: Pooling = "max",
        init: Init = "xavier",
        **training: Any,
    ) -> None:
        if pooling not in POOLINGS:
            raise InputError(f"model.pooling must be max or average, got {pooling!r}")
        act, pool = activation_class(activation), POOLINGS[pooling]
        # Too small an image leaves no pixel here; Classifier then refuses it with the size that would do.
        side = max((image_size // 2 - 4) // 2, 1)
        net = nn.Sequential()
        net.add_module("conv1", nn.Sequential(nn.Conv2d(in_channels, 6, kernel_size=5, padding=2), act(), pool(2)))
        net.add_module("conv2", nn.Sequential(nn.Conv2d(6, 16, kernel_size=5), act(), pool(2)))
        net.add_module("dense1", nn.Sequential(nn.Flatten(), nn.Linear(16 * side * side, 120), act()))
        net.add_module("dense2", nn.Sequential(nn.Linear(120, 84), act()))
        net.add_module("linear", nn.Linear(84, num_classes))
        initialise(net, init)
        super().__init__(net, in_channels=in_channels, image_size=image_size, num_classes=num_classes, **training)
