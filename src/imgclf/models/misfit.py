"""Whether a network takes the images that it is built for: found out before any is read."""

import contextlib

import torch
from torch import Tensor, nn
from torch.func import functional_call

from imgclf.errors import InputError

LARGEST_TRIED = 512  # pixels
_ERRORS = (RuntimeError, ValueError, AssertionError)  # of a layer that an image does not fit


def refuse_misfit(net: nn.Module, name: str, image: Tensor, num_classes: int) -> None:
    """Raise an InputError where ``net`` cannot take an image, float32 (1, c, s, s), with the smallest size that it
    takes; or where it does not make (1, num_classes) of it. The network stays as it is."""
    _, channels, size, _ = image.shape
    form, was_training = f"{channels}x{size}x{size}", net.training
    try:
        with torch.no_grad():
            shape = tuple(net.eval()(image).shape)
    except _ERRORS as error:
        smallest = _smallest_size(net, channels, num_classes)
        remedy = f"choose another data.resize, the smallest that fits is {smallest}"
        if smallest is None:
            remedy = f"no size up to {LARGEST_TRIED} fits, choose another data.in_channels or another network"
        raise InputError(
            f"{name} cannot take images of {form} (channels x height x width): {error}; {remedy}"
        ) from error
    finally:
        net.train(was_training)
    if shape != (1, num_classes):
        raise InputError(
            f"{name} gives outputs of shape {shape} for one image of {form}, expected (1, {num_classes}): build it "
            f"with num_classes={num_classes}"
        )


def _smallest_size(net: nn.Module, channels: int, num_classes: int) -> int | None:
    """Found by trying all, since a network may refuse larger ones again; on the meta device, which computes nothing."""
    weights = {name: tensor.to("meta") for name, tensor in (*net.named_parameters(), *net.named_buffers())}
    for size in range(1, LARGEST_TRIED + 1):
        with contextlib.suppress(*_ERRORS):
            logits = functional_call(net, weights, (torch.empty(1, channels, size, size, device="meta"),))
            if tuple(logits.shape) == (1, num_classes):
                return size
    return None
