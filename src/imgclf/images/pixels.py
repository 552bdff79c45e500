"""From stored bytes to what a network is fed: whole batches, on whatever device they lie."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812


def to_float(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Scale to [0, 1], then normalise by channel.

    Args:
        images: uint8 (n, c, h, w).
        mean: by channel, of pixels in [0, 1].
        std: by channel, likewise.

    Returns:
        float32 (n, c, h, w): (images / 255 - mean) / std.
    """
    # (x / 255 - mean) / std as one multiplication and one addition, in place after the conversion.
    scale = torch.tensor([1 / (255 * s) for s in std], device=images.device).view(1, -1, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=images.device).view(1, -1, 1, 1)
    return images.to(torch.float32).mul_(scale).add_(shift)


def resize(images: Tensor, size: int) -> Tensor:
    """Bilinear, antialiased where it shrinks: float (n, c, h, w) -> (n, c, size, size)."""
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
