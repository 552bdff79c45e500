"""Activation functions by name."""

from typing import Literal

from torch import nn

Activation = Literal["relu", "prelu", "sigmoid", "tanh", "identity"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "prelu": nn.PReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}
