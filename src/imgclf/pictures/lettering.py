"""Text and colours that all pictures share."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

INK: Colour = (34, 34, 34)
FAINT: Colour = (119, 119, 119)
PAPER: Colour = (255, 255, 255)
# From the palette of Okabe & Ito (2008), told apart by colour-blind readers too: right and wrong.
BLUE: Colour = (0, 114, 178)
VERMILLION: Colour = (213, 94, 0)

SIZE = 13  # pixels; the height of text where nothing else is said
LINE = 17  # pixels from one line of it to the next


@lru_cache(maxsize=16)
def font(size: int = SIZE) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes with Pillow, so that pictures look the same everywhere."""
    return ImageFont.load_default(size)


def width_of(text: str, size: int = SIZE) -> int:
    """Pixels that a line of text takes."""
    return round(font(size).getlength(text))


def shortened(text: str, pixels: int, size: int = SIZE) -> str:
    """The text, or as much of its beginning as fits, with three dots."""
    if width_of(text, size) <= pixels:
        return text
    end = len(text)
    while end > 1 and width_of(text[:end].rstrip() + "...", size) > pixels:
        end -= 1
    return text[:end].rstrip() + "..."


class Sheet:
    """An empty white picture to write and paste on.

    Args:
        width: pixels.
        height: pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.image = Image.new("RGB", (width, height), PAPER)
        self.pen = ImageDraw.Draw(self.image)

    def write(self, x: float, y: float, text: str, colour: Colour = INK, size: int = SIZE, anchor: str = "la") -> None:
        """One line of text; ``anchor`` is Pillow's: ``la`` puts its left upper corner at (x, y), ``mm`` its middle."""
        self.pen.text((x, y), text, fill=colour, font=font(size), anchor=anchor)

    def write_upwards(self, x: int, y: int, text: str, colour: Colour = INK, size: int = SIZE) -> None:
        """A line turned by 90 degrees that begins at the bottom, (x, y), and has its middle at x."""
        strip = Image.new("RGB", (max(1, width_of(text, size)), size + 4), PAPER)
        ImageDraw.Draw(strip).text((0, strip.height / 2), text, fill=colour, font=font(size), anchor="lm")
        turned = strip.transpose(Image.Transpose.ROTATE_90)
        self.image.paste(turned, (x - turned.width // 2, y - turned.height))

    def bar(self, x: int, y: int, width: int, height: int, colour: Colour) -> None:
        """A filled rectangle with its left upper corner at (x, y)."""
        if width > 0 and height > 0:
            self.pen.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)

    def paste(self, x: int, y: int, pixels: NDArray[np.uint8]) -> None:
        """Another picture, uint8 (h, w, 3), with its left upper corner at (x, y)."""
        self.image.paste(Image.fromarray(pixels), (x, y))

    def pixels(self) -> NDArray[np.uint8]:
        """The picture, uint8 (height, width, 3)."""
        return np.array(self.image)
