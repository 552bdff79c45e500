"""The smallest image that a network takes, for the message that refuses a smaller one."""

import torch
from torch import nn
from torch.func import functional_call

LARGEST_TRIED = 512


def smallest_image_size(net: nn.Module, in_channels: int, num_classes: int) -> int | None:
    """Smallest s such that ``net`` maps one image (1, in_channels, s, s) to logits (1, num_classes).

    Every size from 1 pixel on is tried, since a network may take some sizes and refuse larger ones. Nothing is
    computed: the tensors are on the meta device, which knows shapes only.

    Returns:
        s, or None where no size up to ``LARGEST_TRIED`` works.
    """
    weights = {name: tensor.to("meta") for name, tensor in (*net.named_parameters(), *net.named_buffers())}
    was_training = net.training
    net.eval()
    try:
        for size in range(1, LARGEST_TRIED + 1):
            image = torch.empty(1, in_channels, size, size, device="meta")
            try:
                logits = functional_call(net, weights, (image,))
            except (RuntimeError, ValueError, AssertionError):
                continue
            if tuple(logits.shape) == (1, num_classes):
                return size
    finally:
        net.train(was_training)
    return None
