"""Anybody's PNG and JPEG files, made into what a data set stores: squares of grey or RGB pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from imgclf.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg")
_THUMBNAIL = 160  # pixels
# More than one byte a channel; Pillow would cut their values off at 255.
_DEEP_GREY = {"I": 65535, "I;16": 65535, "I;16B": 65535, "I;16L": 65535, "F": 1}


@dataclass(frozen=True)
class Picture:
    """One file's picture.

    pixels: uint8 (c, s, s), the middle square of it. thumbnail: uint8 (160, 160, 3), the whole of it, with white
    around. size: width and height in the file. was_colour: whether it has more than shades of grey to it.
    """

    file: Path
    pixels: NDArray[np.uint8]
    thumbnail: NDArray[np.uint8]
    size: tuple[int, int]
    was_colour: bool


def list_pictures(path: Path) -> list[Path]:
    """The PNG and JPEG files of a folder, without its folders, by name; or the one file that ``path`` is.

    Raises:
        InputError: there is nothing, or nothing of this kind.
    """
    kinds = "PNG or JPEG files (.png, .jpg, .jpeg)"
    if path.is_file():
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(f"images={path} is no picture: give a folder of {kinds}, or one of them")
        return [path]
    if not path.is_dir():
        raise InputError(f"images={path}: there is no such folder or file; give a folder of {kinds}")
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        held = sum(1 for _ in path.iterdir())
        raise InputError(f"images={path} holds {held} entries, but none of them is one of the {kinds}")
    return files


def read_picture(file: Path, channels: int) -> Picture:
    """Decode one file, upright as its camera noted it; what is transparent becomes black.

    Args:
        file: PNG or JPEG, of any size and kind of colour.
        channels: of the result, 1 for grey or 3 for RGB.

    Raises:
        InputError: the file is damaged, cut short, too large for Pillow's guard, or no picture.
    """
    try:
        with Image.open(file, formats=("PNG", "JPEG")) as opened:
            opened.load()
            upright = ImageOps.exif_transpose(opened)
            colour = _as_rgb(upright)
            was_colour = _has_colour(upright, colour)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{file} cannot be read as PNG or JPEG: {error}") from error
    side = min(colour.size)
    left, top = (colour.width - side) // 2, (colour.height - side) // 2
    square = colour.crop((left, top, left + side, top + side))
    # A copy: Pillow's own pixels may not be written to, which torch warns of.
    pixels = np.array(square.convert("L") if channels == 1 else square)
    pixels = pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
    small = ImageOps.pad(colour, (_THUMBNAIL, _THUMBNAIL), color=(255, 255, 255))
    return Picture(file, np.ascontiguousarray(pixels), np.asarray(small), colour.size, was_colour)


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in _DEEP_GREY:
        values = np.asarray(picture, dtype=np.float64) * (255 / _DEEP_GREY[picture.mode])
        return Image.fromarray(values.clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if "transparency" in picture.info or picture.mode in ("LA", "RGBA", "PA", "La", "RGBa"):
        layer = picture.convert("RGBA")
        ground = Image.new("RGBA", layer.size, (0, 0, 0, 255))
        return Image.alpha_composite(ground, layer).convert("RGB")
    return picture.convert("RGB")


def _has_colour(picture: Image.Image, rgb: Image.Image) -> bool:
    if picture.mode in ("1", "L", "LA", "La", *_DEEP_GREY):
        return False
    pixels = np.asarray(rgb)
    return bool((pixels != pixels[..., :1]).any())
