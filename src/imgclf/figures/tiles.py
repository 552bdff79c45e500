"""Many small images as one."""

import math

import numpy as np
from numpy.typing import NDArray


def mosaic(tiles: NDArray[np.floating], columns: int) -> NDArray[np.float32]:
    """Tiles side by side, row by row, with a gap of not-a-number between them.

    Args:
        tiles: float (n, c, h, w).
        columns: how many side by side.

    Returns:
        Float32 (height, width, c) of the whole; the gaps are an eighth of a tile, one pixel at least.
    """
    count, channels, height, width = tiles.shape
    gap = max(1, width // 8)
    rows = math.ceil(count / columns)
    whole = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, channels), np.nan, dtype=np.float32)
    for index, tile in enumerate(tiles):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        whole[top : top + height, left : left + width] = tile.transpose(1, 2, 0)
    return whole
