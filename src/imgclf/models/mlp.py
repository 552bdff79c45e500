"""Multilayer perceptron (Zhang et al., Dive into Deep Learning, chapter on multilayer perceptrons)."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from imgclf.models.classifier import Classifier
from imgclf.models.layers import ACTIVATIONS, Activation, Init, initialise
from imgclf.ranges import AtLeast1, FractionBelow1


class MLP(Classifier):
    """H = σ(X W + b) for each hidden layer, logits O = H W + b, with X the flattened images, float (n, c·h·w).

    Args:
        hidden_sizes: units of each hidden layer, first to last; an empty list gives a linear classifier.
        activation: σ after each hidden layer: ``relu``, ``prelu`` (learnt slope, one a layer), ``sigmoid``,
            ``tanh``, or ``identity`` (the whole network is then one affine map).
        dropout: probability of zeroing a hidden unit in training, in [0, 1).
        init: ``xavier`` (uniform, Glorot & Bengio 2010; biases zero) or ``default`` (torch's own).
        in_channels, image_size, num_classes, training: see :class:`Classifier`.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        hidden_sizes: Sequence[AtLeast1] = (256,),
        activation: Activation = "relu",
        dropout: FractionBelow1 = 0.0,
        init: Init = "xavier",
        **training: Any,
    ) -> None:
        net = nn.Sequential(nn.Flatten())
        width = in_channels * image_size * image_size
        for size in hidden_sizes:
            net.extend([nn.Linear(width, size), ACTIVATIONS[activation]()])
            if dropout > 0:
                net.append(nn.Dropout(dropout))
            width = size
        net.append(nn.Linear(width, num_classes))
        initialise(net, init)
        super().__init__(net, in_channels=in_channels, image_size=image_size, num_classes=num_classes, **training)
