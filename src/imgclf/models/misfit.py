"""What a network takes and gives: whether images of the form that it is built for, and which layer its classes."""

import torch
from torch import Tensor, nn

from imgclf.errors import InputError

LARGEST_TRIED = 512  # pixels


def refuse_misfit(net: nn.Module, name: str, image: Tensor, num_classes: int) -> None:
    """Raise an InputError where ``net`` cannot take an image, float32 (1, c, s, s), with the smallest size that it
    takes; or where it does not make (1, num_classes) of it. The network stays as it is."""
    _, channels, size, _ = image.shape
    form, wanted, modes = f"{channels}x{size}x{size}", (1, num_classes), [(m, m.training) for m in net.modules()]
    outcome = _outcome(net.eval(), image)
    if isinstance(outcome, Exception):
        remedy = f"no size up to {LARGEST_TRIED} fits, choose another data.in_channels or another network"
        for smaller in range(1, LARGEST_TRIED + 1):  # all, since a network may refuse larger ones again
            if _outcome(net, image.new_zeros(1, channels, smaller, smaller)) == wanted:
                remedy = f"choose another data.resize, the smallest that fits is {smaller}"
                break
        raise InputError(f"{name} cannot take images of {form} (channels x height x width): {outcome}; {remedy}")
    for module, mode in modes:
        module.training = mode
    if outcome != wanted:
        told = f"{name} gives outputs of shape {outcome} for {form}"
        raise InputError(f"{told}: build it with num_classes={num_classes}, to give logits alone")


@torch.no_grad()
def _outcome(net: nn.Module, image: Tensor) -> tuple[int | str, ...] | Exception:
    try:
        found = net(image)
        return tuple(found.shape) if isinstance(found, Tensor) else (type(found).__name__,)
    except Exception as error:  # of a layer that the image does not fit
        return error


def head_of(net: nn.Module, num_classes: int) -> str:
    """The name of the last linear layer or convolution that has ``num_classes`` outputs; an InputError if none has."""
    kinds = (nn.Linear, nn.Conv2d)
    found = [name for name, m in net.named_modules() if isinstance(m, kinds) and len(m.weight) == num_classes]
    if not found:
        raise InputError(f"{type(net).__name__} has no linear layer or convolution with {num_classes} outputs")
    return found[-1]
