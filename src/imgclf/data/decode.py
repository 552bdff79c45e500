"""From a picture, whoever made it, to what a data set stores of it: uint8 pixels of one size."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

# More than one byte a channel; Pillow would cut their values off at 255.
_DEEP_GREY = {"I": 65535, "I;16": 65535, "I;16B": 65535, "I;16L": 65535, "F": 1}
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
DAMAGE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # what Pillow raises for it


def why(error: BaseException) -> str:
    """What is wrong with a file, in a line."""
    return str(error).partition("\n")[0].partition(" <_io")[0] or type(error).__name__


@dataclass(frozen=True)
class Decode:
    """Decode pictures of any size and mode; the first step of preprocessing, in training as in prediction.

    Args:
        channels: 1 for grey, 3 for RGB.
        size: side of the result in pixels.
        fit: what becomes of a picture that is not square: ``centre`` keeps its middle square, ``letterbox`` all of it
            between black stripes.
    """

    channels: int
    size: int
    fit: Literal["centre", "letterbox"] = "centre"

    def __call__(self, source: Path | Image.Image) -> NDArray[np.uint8]:
        """Pixels uint8 (channels, size, size); raises one of ``DAMAGE`` for what is no whole picture."""
        return self.pixels(read(source, self.size) if isinstance(source, Path) else upright(source))

    def pixels(self, picture: Image.Image) -> NDArray[np.uint8]:
        """The same for an upright picture."""
        fitted = (ImageOps.pad if self.fit == "letterbox" else ImageOps.fit)(
            picture, (self.size, self.size), Image.Resampling.BILINEAR
        )
        # A copy: Pillow's own pixels may not be written to, which torch warns of.
        pixels = np.array(fitted.convert("L" if self.channels == 1 else "RGB"))
        return pixels[None] if self.channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def read(file: Path, size: int) -> Image.Image:
    """A file's picture, upright; of a large JPEG a smaller version that is cheap to decode, no side below ``size``."""
    data = file.read_bytes()
    picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    if picture.format == "PNG":
        picture.verify()  # checksums, which loading passes over
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
    picture.draft("RGB", (size, size))
    return upright(picture)


def upright(picture: Image.Image) -> Image.Image:
    """Turned as its camera noted it, 8 bits a channel, and on white where it is transparent."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in _DEEP_GREY:
        values = np.asarray(picture, dtype=np.float64) * (255 / _DEEP_GREY[picture.mode])
        return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
