"""Whole batches of pixels: from bytes to normalised floats, and to another size."""

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor


def to_float(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalise: (images / 255 - mean) / std for each channel, as a new float32 (n, c, h, w).

    Args:
        images: uint8 (n, c, h, w), or floats in 0 to 255.
        mean: of each channel, for pixels in 0 to 1.
        std: likewise.
    """
    scale, shift = _affine(tuple(mean), tuple(std), images.device)
    if images.dtype == torch.float32:
        return torch.mul(images, scale).add_(shift)  # never writes into the caller's tensor
    return images.to(torch.float32).mul_(scale).add_(shift)


@lru_cache(maxsize=16)
def _affine(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Scale and shift, each (1, c, 1, 1) on the device: kept, as every copy to a device costs a wait."""
    with torch.inference_mode(False):  # a tensor made under inference mode could not be used in training later
        centre = torch.tensor(mean, dtype=torch.float64).view(1, -1, 1, 1)
        spread = torch.tensor(std, dtype=torch.float64).view(1, -1, 1, 1)
        return (1 / (255 * spread)).float().to(device), (-centre / spread).float().to(device)


def resize(images: Tensor, size: int) -> Tensor:
    """Floats (n, c, h, w) as (n, c, size, size): bilinear, antialiased where it shrinks."""
    if tuple(images.shape[-2:]) == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)
