"""The augmentation of Zhang et al., Dive into Deep Learning, section 14.13, exactly, for whole batches."""

from functools import lru_cache
from typing import Annotated

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from pydantic import Field
from torch import Tensor

from imgclf.data.transforms import area_range, uniform
from imgclf.ranges import Fraction, NumberAbove0

# The CPU crops piece by piece: with buffers of more than about 1 MB the allocator hands memory back to the system after
# every batch, and fetching it again took longer than the work itself (128 images of 32x32: 4 to 9 ms, not 1.7).
_CPU_PIECE_VALUES = 200_000


class ChapterAugmentation:
    """Enlarge, cut out a random square of part of that area, bring it back to h x w, flip at random.

    The square's area is uniform in [min_area, max_area] of the enlarged image, its side rounded to whole pixels, its
    place uniform among those where it fits. Images (n, c, h, w) of uint8 become float32 in 0 to 255.

    All steps are linear in the rows and in the columns, so one h x h and one w x w matrix for each image do exactly
    what enlarging, cropping and antialiased resizing do one after the other, in two batched products.

    Args:
        enlarge: factor, so that 32 pixels become 40.
        min_area: smallest share of the enlarged area.
        max_area: largest share.
        flip_probability: of each image, left to right.
    """

    def __init__(
        self,
        enlarge: Annotated[float, Field(ge=1)] = 1.25,
        min_area: NumberAbove0 = 0.64,
        max_area: Fraction = 1.0,
        flip_probability: Fraction = 0.5,
    ) -> None:
        self.enlarge, self.flip_probability = enlarge, flip_probability
        self.min_area, self.max_area = area_range(min_area, max_area)

    def __call__(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        n, c, h, w = images.shape
        large = round(min(h, w) * self.enlarge)
        smallest = max(1, round(large * self.min_area**0.5))
        u = uniform((4, n), images, generator)
        area = large**2 * (self.min_area + (self.max_area - self.min_area) * u[0])
        side = area.sqrt().round().clamp(smallest, large).long()
        places = large - side + 1
        # The product with a float just below 1 may round up to `places` itself.
        top, left = (torch.minimum((v * places).long(), places - 1) for v in (u[1], u[2]))
        flip = (u[3] < self.flip_probability).long()
        dtype = images.dtype if images.is_floating_point() else torch.float32
        result = torch.empty(images.shape, dtype=dtype, device=images.device)
        piece = max(1, _CPU_PIECE_VALUES // (c * h * w)) if images.device.type == "cpu" else max(1, n)
        for i in range(0, n, piece):
            p = slice(i, i + piece)
            # Lower precision, right for a network's products, would blur pixels.
            with torch.autocast(images.device.type, enabled=False):
                rows = _crops(h, large, smallest, top[p], side[p], torch.zeros_like(flip[p]))
                columns = _crops(w, large, smallest, left[p], side[p], flip[p])
                # As (m, h, c, w), one product for each image serves all channels.
                lines = torch.empty((len(rows), h, c, w), device=images.device).copy_(images[p].transpose(1, 2))
                tall = torch.bmm(rows, lines.view(-1, h, c * w))
                result[p] = torch.bmm(tall.view(-1, h * c, w), columns.mT).view(-1, h, c, w).transpose(1, 2)
        return result


def _crops(length: int, large: int, smallest: int, start: Tensor, side: Tensor, flip: Tensor) -> Tensor:
    """The matrix (m, length, length) of each crop: enlarge a line of pixels, cut it, bring it back, mirror."""
    shrink, enlarge = _matrices(length, large, smallest, start.device)
    return torch.bmm(shrink[side - smallest + (large - smallest + 1) * flip], enlarge[start])


@lru_cache(maxsize=16)
def _matrices(length: int, large: int, smallest: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What every crop of a line of ``length`` pixels is made of, kept on the device.

    ``shrink`` (2 * sides, length, large) brings the first smallest, smallest + 1, ... large pixels back to ``length``,
    then the same mirrored; ``enlarge`` (starts, large, length) leaves out the first 0, 1, ... large - smallest pixels.
    """
    with torch.inference_mode(False):  # kept tensors made under inference mode could not be used in training
        shrink = torch.stack([_resizing(side, large, length) for side in range(smallest, large + 1)])
        whole = _resizing(length, length, large)
        padded = torch.cat([whole, whole.new_zeros(large - smallest, length)])
        enlarge = padded.unfold(0, large, 1).mT.contiguous()
        return torch.cat([shrink, shrink.flip(1)]).to(device), enlarge.to(device)


def _resizing(side: int, length: int, target: int) -> Tensor:
    """The matrix (target, length), float32, that resizes the first ``side`` pixels of a line to ``target``."""
    pixels = torch.eye(side, length, dtype=torch.float64)[None, None]  # each pixel of the line by itself
    return F.interpolate(pixels, (target, length), mode="bilinear", antialias=True)[0, 0].float()
