"""A network's head: the layer that gives the logits."""

from torch import nn

from imgclf.errors import InputError


def head_of(net: nn.Module, num_classes: int) -> str:
    """The name of the last linear layer or convolution that has ``num_classes`` outputs.

    Raises:
        InputError: there is none.
    """
    found = ""
    for name, module in net.named_modules():
        outputs = getattr(module, "out_features" if isinstance(module, nn.Linear) else "out_channels", None)
        if isinstance(module, nn.Linear | nn.Conv2d) and outputs == num_classes:
            found = name
    if not found:
        raise InputError(f"{type(net).__name__} has no linear layer or convolution with {num_classes} outputs")
    return found
