"""From what a network is fed to what an eye can judge."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SMALLEST_TILE = 84  # pixels; smaller images are enlarged by whole factors, pixel by pixel
LARGEST_TILE = 168  # larger ones are made smaller


def displayable(
    images: NDArray[np.floating], mean: Sequence[float] | None, std: Sequence[float] | None
) -> NDArray[np.uint8]:
    """Undo the normalisation.

    Args:
        images: float (n, c, h, w), as the network is fed.
        mean: what was taken from pixels in [0, 1], by channel or one for all; None where it is not known: each image
            is then stretched from its darkest to its brightest pixel.
        std: what they were divided by, likewise.

    Returns:
        uint8 (n, h, w, 3). Three channels are red, green and blue; of any other number the mean is shown as grey.
    """
    if mean is None or std is None:
        low, high = (f(images, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
        pixels = (images - low) / np.maximum(high - low, 1e-12)
    else:
        centre, spread = (np.asarray(values, dtype=np.float32).reshape(1, -1, 1, 1) for values in (mean, std))
        pixels = images * spread + centre
    if pixels.shape[1] != 3:
        pixels = np.repeat(pixels.mean(axis=1, keepdims=True), 3, axis=1)
    pixels = np.nan_to_num(pixels, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    whole = (pixels * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(whole.transpose(0, 2, 3, 1))


def tile(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One image, uint8 (h, w, 3), at a size that can be judged."""
    height, width = image.shape[:2]
    if max(height, width) > LARGEST_TILE:
        shrunk = Image.fromarray(image)
        shrunk.thumbnail((LARGEST_TILE, LARGEST_TILE), Image.Resampling.BOX)
        return np.array(shrunk)
    factor = -(-SMALLEST_TILE // max(height, width))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)
