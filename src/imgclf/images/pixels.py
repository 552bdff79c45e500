"""Whole batches of pixels: from bytes to normalised floats, and to another size."""

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor

from imgclf.errors import InputError


def to_float(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Normalise: (images / 255 - mean) / std for each channel, as a new float32 (n, c, h, w).

    `images`: uint8 (n, c, h, w), or floats in the same range, 0 to 255 (as augmentations return them). `mean`
    and `std`: c numbers each, for pixels in 0 to 1. One multiplication and one addition, in place, do it all.
    """
    if images.ndim != 4 or not len(mean) == len(std) == images.shape[1]:
        raise InputError(
            f"images must be (n, c, h, w) with a mean and a std for each of the c channels, "
            f"got shape {tuple(images.shape)}, mean {list(mean)}, std {list(std)}"
        )
    scale, shift = _affine(tuple(mean), tuple(std), images.device)
    if images.dtype == torch.float32:
        return torch.mul(images, scale).add_(shift)  # never writes into the caller's tensor
    return images.to(torch.float32).mul_(scale).add_(shift)


@lru_cache(maxsize=16)
def _affine(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Scale and shift, each (1, c, 1, 1) on the device: kept, as every copy to a device costs a wait."""
    if min(std) <= 0:
        raise InputError(f"std must be above 0, got {list(std)}")
    with torch.inference_mode(False):  # a tensor made under inference mode could not be used in training later
        centre = torch.tensor(mean, dtype=torch.float64).view(1, -1, 1, 1)
        spread = torch.tensor(std, dtype=torch.float64).view(1, -1, 1, 1)
        return (1 / (255 * spread)).float().to(device), (-centre / spread).float().to(device)


def resize(images: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Resize floats (n, c, h, w) to (n, c, size, size) or (n, c, *size): bilinear, antialiased when it
    shrinks.
    """
    target = (size, size) if isinstance(size, int) else size
    if tuple(images.shape[-2:]) == target:
        return images
    return F.interpolate(images, target, mode="bilinear", align_corners=False, antialias=True)
