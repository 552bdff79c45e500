"""The limit: the shortest hand-written training loop over arrays in memory."""

import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim import Optimizer


def train(
    net: nn.Module,
    optimizer: Optimizer,
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int,
    epochs: int,
    bfloat16: bool,
    channels_last: bool,
) -> list[float]:
    """Nothing but the steps: no metrics, no logs, no validation, no conversion of pixels.

    Args:
        net: float32 (n, c, h, w) -> logits (n, k).
        optimizer: of its parameters.
        images: float32 (m, c, h, w), as the network is fed, on the device.
        labels: int64 (m,).
        batch_size: a smaller last batch is left out.
        epochs: how many times to go through the images, in a new order each time.
        bfloat16: autocast.
        channels_last: memory format of images and weights.

    Returns:
        Seconds of each epoch.
    """
    if channels_last:
        net.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    device = images.device
    seconds = []
    for _ in range(epochs):
        begin = time.perf_counter()
        for chosen in torch.split(torch.randperm(len(images), device=device), batch_size):
            if len(chosen) < batch_size:
                continue
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                loss = F.cross_entropy(net(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - begin)
    return seconds
