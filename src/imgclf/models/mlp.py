"""Multilayer perceptron (Zhang et al., Dive into Deep Learning, chapter on multilayer perceptrons).

H = σ(X W + b) for each hidden layer, logits O = H W + b. Legend: n images, d = c·h·w pixels of an image, k classes.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from imgclf.errors import InputError
from imgclf.models.activations import Activation, activation_class
from imgclf.models.classifier import Classifier
from imgclf.models.initialisation import Init, initialise


class MLP(Classifier):
    """Fully connected layers over the flattened image: (n, c, h, w) -> (n, d) -> hidden sizes -> (n, k).

    Args:
        in_channels: c of the images.
        image_size: height and width of the images in pixels.
        num_classes: k.
        hidden_sizes: units of each hidden layer, first to last; an empty list gives a linear classifier.
        activation: σ after each hidden layer: ``relu``, ``prelu`` (learnt slope, one a layer), ``sigmoid``,
            ``tanh``, or ``identity`` (the whole network is then one affine map).
        dropout: probability of zeroing a hidden unit in training, in [0, 1).
        init: ``xavier`` (uniform, Glorot & Bengio 2010; biases zero) or ``default`` (torch's own).
        training: ``label_smoothing`` and ``optimizer`` of :class:`Classifier`.

    Raises:
        InputError: a value is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        hidden_sizes: Sequence[int] = (256,),
        activation: Activation = "relu",
        dropout: float = 0.0,
        init: Init = "xavier",
        **training: Any,
    ) -> None:
        act = activation_class(activation)
        if not 0 <= dropout < 1:
            raise InputError(f"model.dropout must lie in [0, 1), got {dropout}")
        if any(size < 1 for size in hidden_sizes):
            raise InputError(f"model.hidden_sizes must all be at least 1, got {list(hidden_sizes)}")
        layers: list[nn.Module] = [nn.Flatten()]
        width = in_channels * image_size * image_size
        for size in hidden_sizes:
            layers += [nn.Linear(width, size), act()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            width = size
        layers.append(nn.Linear(width, num_classes))
        net = nn.Sequential(*layers)
        initialise(net, init)
        super().__init__(net, in_channels=in_channels, image_size=image_size, num_classes=num_classes, **training)
