"""Activation functions by name."""

from typing import Literal

from torch import nn

from imgclf.errors import InputError

Activation = Literal["relu", "prelu", "sigmoid", "tanh", "identity"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "prelu": nn.PReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "identity": nn.Identity,
}


def activation_class(activation: Activation) -> type[nn.Module]:
    """The module that computes it.

    Raises:
        InputError: there is no such choice.
    """
    if activation not in ACTIVATIONS:
        raise InputError(f"model.activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    return ACTIVATIONS[activation]
