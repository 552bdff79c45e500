"""What happens to whole batches, on whatever device they are: random changes in training, normalising, resizing.

Each class is called as ``transform(images, generator)`` with images (n, c, h, w), uint8 or floats in 0 to 255, and
gives images of that shape, each with draws of its own from ``generator``, which may live on the CPU while the images
are on a GPU. What takes no generator, as the transforms of torchvision's v2, gets the images one by one.
"""

import inspect
import math
import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from pydantic import Field
from torch import Tensor

from imgclf.errors import InputError
from imgclf.ranges import AtLeast0, Fraction, NumberAbove0

Transform = Callable[..., Tensor]
Mix = Literal["none", "mixup", "cutmix"]


def batched(transform: Transform) -> Transform:
    """As one that is called with a batch and a generator: one that takes no generator gets the images one by one."""
    if "generator" in inspect.signature(getattr(transform, "forward", transform)).parameters:
        return transform

    def each(images: Tensor, generator: torch.Generator) -> Tensor:
        seed(generator)
        if images.dtype != torch.uint8:  # of an augmentation before it; those of torchvision expect floats up to 1
            images = images.clamp(0, 255).round().to(torch.uint8)
        found = torch.stack([transform(image) for image in images])
        if found.is_floating_point() and found.max() <= 1 < images.max():
            name = type(transform).__name__
            raise InputError(f"data.augment: {name} gives floats up to 1, expected 0 to 255: leave scaling out")
        return found

    return each


def seed(generator: torch.Generator) -> None:
    """Seed the global random numbers of torch, numpy and Python from a generator, for what draws from those."""
    drawn = int(torch.randint(2**62, (), generator=generator))
    torch.manual_seed(drawn)
    np.random.seed(drawn % 2**32)
    random.seed(drawn)


def uniform(shape: tuple[int, ...], images: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform draws in [0, 1), float32, made where the generator lives, on the images' device."""
    source = images.device if generator is None else generator.device
    # Not on Apple's GPUs, which would read what has been freed by then.
    is_cuda = images.device.type == "cuda"
    return torch.rand(shape, generator=generator, device=source).to(images.device, non_blocking=is_cuda)


def area_range(min_area: float, max_area: float) -> tuple[float, float]:
    """Both, unless they are the wrong way round."""
    if min_area > max_area:
        raise InputError(f"min_area={min_area} is more than max_area={max_area}: give at most that")
    return min_area, max_area


def _as(images: Tensor, like: Tensor) -> Tensor:
    """Floats in 0 to 255 in the type that came in."""
    return images.clamp_(0, 255).round_().to(torch.uint8) if like.dtype == torch.uint8 else images.to(like.dtype)


class PadCropFlip:
    """Pad by ``pad_pixels`` on every side, cut out h x w at a random place, flip at random; the dtype stays.

    Args:
        pad_pixels: on every side.
        flip_probability: of each image, left to right.
        mode: what the padding shows: ``reflect`` (the image mirrored, its edge not repeated), ``replicate`` (its edge
            repeated) or ``constant`` (zeros, black).
    """

    def __init__(
        self,
        pad_pixels: AtLeast0 = 4,
        flip_probability: Fraction = 0.5,
        mode: Literal["reflect", "replicate", "constant"] = "reflect",
    ) -> None:
        self.pad_pixels, self.flip_probability, self.mode = pad_pixels, flip_probability, mode

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        n, c, h, w = images.shape
        if self.mode == "reflect" and self.pad_pixels >= min(h, w):
            raise InputError(f"reflect needs pad_pixels below the image's side, got {self.pad_pixels} for {h}x{w}")
        u = uniform((3, n), images, generator)
        places = 2 * self.pad_pixels + 1
        down, right = (u[:2] * places).long().clamp(max=places - 1) - self.pad_pixels
        rows = torch.arange(h, device=images.device) + down[:, None]  # (n, h), may lie outside the image
        columns = torch.arange(w, device=images.device) + right[:, None]  # (n, w)
        columns = torch.where((u[2] < self.flip_probability)[:, None], columns.flip(1), columns)
        pixel = self._inside(rows, h)[:, :, None] * w + self._inside(columns, w)[:, None, :]  # (n, h, w)
        taken = images.reshape(n, c, h * w).gather(2, pixel.view(n, 1, h * w).expand(n, c, h * w))
        result = taken.view(n, c, h, w)
        if self.mode == "constant":
            outside = (rows != rows.clamp(0, h - 1))[:, :, None] | (columns != columns.clamp(0, w - 1))[:, None, :]
            result = result.masked_fill(outside[:, None], 0)
        return result

    def _inside(self, positions: Tensor, length: int) -> Tensor:
        """The row or column that is shown at a position outside the image."""
        if self.mode == "reflect":
            return length - 1 - (length - 1 - positions.abs()).abs()
        return positions.clamp(0, length - 1)


class RandomResizedCrop:
    """Cut out a random part, stretch it to h x w, flip at random (Szegedy et al. 2015); bilinear.

    Args:
        min_area: smallest share of the image's area.
        max_area: largest share.
        max_ratio: of width to height and the reverse, drawn evenly on a log scale, where the area leaves room for it.
        flip_probability: of each image, left to right.
    """

    def __init__(
        self,
        min_area: NumberAbove0 = 0.35,
        max_area: Fraction = 1.0,
        max_ratio: Annotated[float, Field(ge=1)] = 4 / 3,
        flip_probability: Fraction = 0.5,
    ) -> None:
        self.min_area, self.max_area = area_range(min_area, max_area)
        self.max_ratio, self.flip_probability = max_ratio, flip_probability

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        if not len(images):
            return images
        u = uniform((5, len(images)), images, generator)
        area = self.min_area + (self.max_area - self.min_area) * u[0]
        steepest = (-area.log()).clamp(max=math.log(self.max_ratio))  # with which the area has room in the image
        ratio = (steepest * (2 * u[1] - 1)).exp()
        width, height = ((area * r).sqrt() for r in (ratio, 1 / ratio))  # as shares of the sides
        # In affine_grid's coordinates the image spans -1 to 1.
        x, y = ((1 - size) * (2 * v - 1) for size, v in ((width, u[2]), (height, u[3])))
        flip = torch.where(u[4] < self.flip_probability, -1.0, 1.0)
        zero = torch.zeros_like(x)
        theta = torch.stack([width * flip, zero, x, zero, height, y], dim=1).view(-1, 2, 3)
        with torch.autocast(images.device.type, enabled=False):  # lower precision would blur pixels
            grid = F.affine_grid(theta, list(images.shape), align_corners=False)
            return _as(F.grid_sample(images.float(), grid, padding_mode="reflection", align_corners=False), images)


class ColorJitter:
    """Change brightness, contrast and, of colour images, saturation, each by a factor in [1 - x, 1 + x]."""

    def __init__(self, brightness: Fraction = 0.3, contrast: Fraction = 0.3, saturation: Fraction = 0.3) -> None:
        self.by = (brightness, contrast, saturation)

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        u = uniform((3, len(images), 1, 1, 1), images, generator)
        brightness, contrast, saturation = (1 + by * (2 * v - 1) for by, v in zip(self.by, u, strict=True))
        result = (images.float() * brightness).clamp_(0, 255)
        middle = result.mean((1, 2, 3), keepdim=True)
        result = ((result - middle) * contrast + middle).clamp_(0, 255)
        grey = result.mean(1, keepdim=True)
        return _as(((result - grey) * saturation + grey).clamp_(0, 255), images)


class RandomErasing:
    """Fill a random rectangle of an image with its mean colour (Zhong et al. 2020).

    Args:
        probability: of each image.
        min_area: smallest share of the image's area.
        max_area: largest share.
    """

    def __init__(self, probability: Fraction = 0.5, min_area: Fraction = 0.02, max_area: Fraction = 0.3) -> None:
        self.probability = probability
        self.min_area, self.max_area = area_range(min_area, max_area)

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        n, _, h, w = images.shape
        u = uniform((5, n, 1), images, generator)
        area = self.min_area + (self.max_area - self.min_area) * u[0]
        ratio = (math.log(3) * (2 * u[1] - 1)).exp()
        area = torch.where(u[4] < self.probability, area, 0)
        inside = []
        for length, share, v in ((h, (area * ratio).sqrt(), u[2]), (w, (area / ratio).sqrt(), u[3])):
            size = (share.clamp(max=1) * length).round()
            start = (v * (length - size + 1)).floor()
            place = torch.arange(length, device=images.device)
            inside.append((place >= start) & (place < start + size))
        middle = _as(images.float().mean((2, 3), keepdim=True), images)
        return torch.where((inside[0][:, :, None] & inside[1][:, None, :])[:, None], middle, images)


def mixer(kind: Mix, probability: float, num_classes: int) -> Any:
    """What mixes the images and labels of a batch, or leaves it: torchvision's MixUp (Zhang et al. 2018, alpha 0.2) or
    CutMix (Yun et al. 2019, alpha 1); None for ``none``.

    It is called with images float (n, c, h, w) and labels int64 (n,), and gives labels float (n, num_classes) where it
    has mixed.
    """
    if kind == "none":
        return None
    from torchvision.transforms import v2  # a second to import

    mix = v2.MixUp(alpha=0.2, num_classes=num_classes) if kind == "mixup" else v2.CutMix(num_classes=num_classes)
    return v2.RandomApply([mix], p=probability)


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
        centre, spread = (torch.tensor(v, dtype=torch.float64).view(1, -1, 1, 1) for v in (mean, std))
        return (1 / (255 * spread)).float().to(device), (-centre / spread).float().to(device)


def resize(images: Tensor, size: int) -> Tensor:
    """Floats (n, c, h, w) as (n, c, size, size): bilinear, antialiased where it shrinks."""
    if tuple(images.shape[-2:]) == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", align_corners=False, antialias=True)
