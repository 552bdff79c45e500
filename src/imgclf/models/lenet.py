"""LeNet-5 in today's form (LeCun et al. 1998; Zhang et al., Dive into Deep Learning, learning-rate scheduling)."""

from collections import OrderedDict
from typing import Any, Literal

from torch import nn

from imgclf.models.classifier import Classifier
from imgclf.models.layers import ACTIVATIONS, Activation, Init, initialise


class LeNet(Classifier):
    """Two convolutions with pooling, three fully connected layers.

    ``net`` names its parts. An image of 1x28x28 becomes (6, 14, 14) in ``conv1``, (16, 5, 5) in ``conv2``, (120,) in
    ``dense1``, (84,) in ``dense2``, and 10 logits in ``linear``: 61,706 parameters. Those of ``dense1`` grow with the
    image, which has at least 12 x 12 pixels. ``sigmoid`` and ``average`` give the form nearest to that of 1998.

    Args:
        activation: ``relu``, ``prelu`` (learnt slope, one a layer), ``sigmoid``, ``tanh`` or ``identity``.
        pooling: ``max`` or ``average``.
        init: ``xavier`` (uniform, Glorot & Bengio 2010; biases zero) or ``default`` (torch's own).
        in_channels, image_size, num_classes, training: see :class:`Classifier`.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        activation: Activation = "relu",
        pooling: Literal["max", "average"] = "max",
        init: Init = "xavier",
        **training: Any,
    ) -> None:
        act, pool = ACTIVATIONS[activation], nn.MaxPool2d if pooling == "max" else nn.AvgPool2d
        # Too small an image leaves no pixel here; Classifier then refuses it with the size that would do.
        side = max((image_size // 2 - 4) // 2, 1)
        parts = {
            "conv1": nn.Sequential(nn.Conv2d(in_channels, 6, kernel_size=5, padding=2), act(), pool(2)),
            "conv2": nn.Sequential(nn.Conv2d(6, 16, kernel_size=5), act(), pool(2)),
            "dense1": nn.Sequential(nn.Flatten(), nn.Linear(16 * side * side, 120), act()),
            "dense2": nn.Sequential(nn.Linear(120, 84), act()),
            "linear": nn.Linear(84, num_classes),
        }
        net = nn.Sequential(OrderedDict(parts))
        initialise(net, init)
        super().__init__(net, in_channels=in_channels, image_size=image_size, num_classes=num_classes, **training)
