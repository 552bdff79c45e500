"""How weights begin."""

from typing import Literal

from torch import nn

from imgclf.errors import InputError

Init = Literal["xavier", "default"]


def xavier_init(module: nn.Module) -> None:
    """Xavier-uniform weights and zero biases for a linear or convolutional layer; others are left alone."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def initialise(net: nn.Module, init: Init) -> None:
    """Set the weights of a whole network: ``xavier`` as :func:`xavier_init`, ``default`` leaves torch's own.

    Raises:
        InputError: there is no such choice.
    """
    if init not in ("xavier", "default"):
        raise InputError(f"model.init must be xavier or default, got {init!r}")
    if init == "xavier":
        net.apply(xavier_init)
