"""How weights begin."""

from typing import Literal

from torch import nn

Init = Literal["xavier", "default"]


def initialise(net: nn.Module, init: Init) -> None:
    """``xavier``: uniform weights (Glorot & Bengio 2010), biases zero; ``default`` leaves torch's own."""
    for module in net.modules():
        if init == "xavier" and isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
