"""Random changes to training images: whole batches, on whatever device they are, one draw for each image.

Legend: n images, c channels, h x w pixels, s = side of the enlarged image, k = side of a crop.

Every augmentation is called as `augmentation(images, generator)`. Images are (n, c, h, w), uint8 or floats.
All of them commute with normalisation, so that they may come before `to_float` (fewer bytes to move) or after
it. `generator` is where the draws come from; None means torch's global one. It may live on the CPU while the
images are on a GPU.
"""

from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from imgclf.errors import InputError

# The CPU crops piece by piece: with buffers of more than about 1 MB the allocator hands memory back to the
# system after every batch, and fetching it again took longer than the work itself (128 images of 32x32: 4 to
# 9 ms, not 1.7).
_CPU_PIECE_VALUES = 200_000


class Augmentation(Protocol):
    """Anything that takes images (n, c, h, w) and a generator, and returns images of the same shape."""

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor: ...


class NoAugmentation:
    """Leave the images as they are."""

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return images


class ChapterAugmentation:
    """Enlarge to s x s, cut out a random square of part of that area, bring it back to h x w, flip at random.

    The square's area is uniform in [min_area, max_area] of s x s, its side rounded to whole pixels, its place
    uniform among those where it fits. Returns float32 for uint8 (still 0 to 255), and floats in their own
    type.

    All three steps are linear in the rows and in the columns, so one h x h and one w x w matrix for each
    image do exactly what enlarging, cropping and antialiased resizing do one after the other, in two batched
    products.
    """

    def __init__(
        self,
        resize_to: int = 40,
        min_area: float = 0.64,
        max_area: float = 1.0,
        flip_probability: float = 0.5,
    ) -> None:
        if resize_to < 1:
            raise InputError(f"resize_to must be at least 1 pixel, got {resize_to}")
        if not 0 < min_area <= max_area <= 1:
            raise InputError(f"0 < min_area <= max_area <= 1 must hold, got {min_area} and {max_area}")
        self.resize_to, self.min_area, self.max_area = resize_to, min_area, max_area
        self.smallest_side = max(1, round(resize_to * min_area**0.5))
        self.flip_probability = _probability(flip_probability)

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        top, left, side, flip = self.draw(len(images), images.device, generator)
        return self.apply(images, top, left, side, flip)

    def apply(self, images: Tensor, top: Tensor, left: Tensor, side: Tensor, flip: Tensor) -> Tensor:
        """Enlarge (n, c, h, w) to s x s, cut out k x k at (top, left), resize that to h x w, mirror where
        `flip`.

        The arguments are what `draw` returns. Both resizings are bilinear and antialiased.
        """
        dtype = images.dtype if images.is_floating_point() else torch.float32
        result = torch.empty(images.shape, dtype=dtype, device=images.device)
        c, h, w = images.shape[1:]
        piece = max(1, _CPU_PIECE_VALUES // (c * h * w)) if images.device.type == "cpu" else max(1, len(images))
        for i in range(0, len(images), piece):
            part = slice(i, i + piece)
            result[part] = self._crop(images[part], top[part], left[part], side[part], flip[part])
        return result

    def _crop(self, images: Tensor, top: Tensor, left: Tensor, side: Tensor, flip: Tensor) -> Tensor:
        """`apply` in one go; float32 (n, c, h, w)."""
        n, c, h, w = images.shape
        # Lower precision, right for a network's products, would blur pixels.
        with torch.autocast(images.device.type, enabled=False):
            rows = self._crop_matrices(top, side, h, torch.zeros_like(flip))  # (n, h, h)
            columns = self._crop_matrices(left, side, w, flip)  # (n, w, w)
            # As (n, h, c, w), one product for each image serves all channels.
            lines = torch.empty((n, h, c, w), device=images.device).copy_(images.transpose(1, 2))
            tall = torch.bmm(rows, lines.view(n, h, c * w))
            return torch.bmm(tall.view(n, h * c, w), columns.mT).view(n, h, c, w).transpose(1, 2)

    def _crop_matrices(self, start: Tensor, side: Tensor, length: int, flip: Tensor) -> Tensor:
        """The matrix (n, length, length) of each crop: enlarge a line of pixels, cut it, bring it back,
        mirror.
        """
        shrink, enlarge = _matrices(length, self.resize_to, self.smallest_side, start.device)
        sides = self.resize_to - self.smallest_side + 1
        return torch.bmm(shrink[side - self.smallest_side + sides * flip], enlarge[start])

    def draw(
        self, n: int, device: torch.device, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Draw n crops: top, left, side in pixels of the enlarged image, int64 (n,), and flip, bool (n,)."""
        u = _uniform((4, n), device, generator)
        area = self.resize_to**2 * (self.min_area + (self.max_area - self.min_area) * u[0])
        side = area.sqrt().round().clamp(self.smallest_side, self.resize_to).long()
        places = self.resize_to - side + 1
        # The product with a float just below 1 may round up to `places` itself.
        top, left = (torch.minimum((v * places).long(), places - 1) for v in (u[1], u[2]))
        return top, left, side, u[3] < self.flip_probability


class PadCropFlip:
    """Pad by `pad_pixels` on every side, cut out h x w at a random place, flip at random; the dtype stays.

    `mode` says what the padding shows: "reflect" (the image mirrored, its edge not repeated), "replicate"
    (its edge repeated) or "constant" (zeros: black in bytes, the mean colour after normalisation).
    """

    def __init__(self, pad_pixels: int = 4, flip_probability: float = 0.5, mode: str = "reflect") -> None:
        if pad_pixels < 0:
            raise InputError(f"pad_pixels must be at least 0, got {pad_pixels}")
        if mode not in ("reflect", "replicate", "constant"):
            raise InputError(f"mode must be reflect, replicate or constant, got {mode!r}")
        self.pad_pixels, self.mode = pad_pixels, mode
        self.flip_probability = _probability(flip_probability)

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        n, c, h, w = images.shape
        if self.mode == "reflect" and self.pad_pixels >= min(h, w):
            raise InputError(f"reflect needs pad_pixels below the image's side, got {self.pad_pixels} for {h}x{w}")
        u = _uniform((3, n), images.device, generator)
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


@lru_cache(maxsize=16)
def _matrices(length: int, resize_to: int, smallest: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What every crop of a line of `length` pixels is made of, kept on the device: a few MB at most.

    Returns `shrink` (2 * sides, length, s), which brings the first k = smallest, smallest + 1, ... s of s
    pixels back to `length`, then the same mirrored; and `enlarge` (starts, s, length), which enlarges the
    line to s pixels and leaves out the first 0, 1, ... s - smallest of them. The product for a side and a
    start is that crop.
    """
    with torch.inference_mode(False):  # kept tensors made under inference mode could not be used in training
        sides = torch.arange(smallest, resize_to + 1)
        shrink = _resize_matrices(sides, resize_to, length)
        whole = _resize_matrices(torch.tensor([length]), length, resize_to)[0]
        padded = torch.cat([whole, whole.new_zeros(resize_to - smallest, length)])
        enlarge = padded.unfold(0, resize_to, 1).mT.contiguous()
        return torch.cat([shrink, shrink.flip(1)]).to(device), enlarge.to(device)


def _resize_matrices(side: Tensor, length: int, target: int) -> Tensor:
    """Matrices (n, target, length), float32, that resize the first `side` (n,) pixels of a line to `target`
    pixels.

    Row i holds the weights of output pixel i: a triangle around its centre, as wide as the step between
    output pixels when they are coarser than the input's (antialiasing), one input pixel otherwise.
    """
    step = (side.double() / target)[:, None, None]
    i = torch.arange(target, dtype=torch.float64)[:, None]
    j = torch.arange(length, dtype=torch.float64)
    distance = (j + 0.5) - (i + 0.5) * step
    weights = (1 - distance.abs() / step.clamp(min=1)).clamp(min=0) * (j < side[:, None, None])
    return (weights / weights.sum(2, keepdim=True)).float()


def _uniform(shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Uniform draws in [0, 1), float32, made where the generator lives."""
    source = device if generator is None else generator.device
    return torch.rand(shape, generator=generator, device=source).to(device, non_blocking=True)


def _probability(value: float) -> float:
    if not 0 <= value <= 1:
        raise InputError(f"flip_probability must lie in [0, 1], got {value}")
    return value
