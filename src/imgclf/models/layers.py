"""Activation functions by name, and how weights begin."""

from typing import Literal

from torch import nn

Activation = Literal["relu", "prelu", "sigmoid", "tanh", "identity"]
Init = Literal["xavier", "default"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "prelu": nn.PReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}


def initialise(net: nn.Module, init: Init) -> None:
    """``xavier``: uniform weights (Glorot & Bengio 2010), biases zero; ``default`` leaves torch's own."""
    for module in net.modules():
        if init == "xavier" and isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
