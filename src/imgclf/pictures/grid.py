"""Images side by side, each with lines below it."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imgclf.pictures.display import tile
from imgclf.pictures.lettering import LINE, Colour, Sheet, shortened

Line = tuple[str, Colour]

_GAP = 12
_NARROWEST = 104  # pixels, so that captions have room below narrow images


def captioned(
    images: NDArray[np.uint8], captions: Sequence[Sequence[Line]], columns: int, title: str
) -> NDArray[np.uint8]:
    """A grid of images, row by row.

    Args:
        images: uint8 (n, h, w, 3); n may be 0, only the title is then written.
        captions: lines for each image, text and colour; what is too long is cut.
        columns: most images side by side.
        title: above them all.

    Returns:
        uint8 (height, width, 3).
    """
    tiles = [tile(image) for image in images]
    if not tiles:
        sheet = Sheet(480, LINE + 2 * _GAP)
        sheet.write(_GAP, _GAP, title)
        return sheet.pixels()
    height, width = tiles[0].shape[:2]
    columns = min(columns, len(tiles))
    rows = math.ceil(len(tiles) / columns)
    cell_width = max(width, _NARROWEST) + _GAP
    cell_height = height + LINE * max(len(lines) for lines in captions) + _GAP
    top = LINE + 2 * _GAP
    sheet = Sheet(columns * cell_width + _GAP, top + rows * cell_height)
    sheet.write(_GAP, _GAP, shortened(title, columns * cell_width - _GAP))
    for place, (pixels, lines) in enumerate(zip(tiles, captions, strict=True)):
        row, column = divmod(place, columns)
        x, y = _GAP + column * cell_width, top + row * cell_height
        sheet.paste(x, y, pixels)
        for number, (text, colour) in enumerate(lines):
            sheet.write(x, y + height + 3 + number * LINE, shortened(text, cell_width - _GAP), colour)
    return sheet.pixels()
