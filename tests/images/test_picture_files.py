"""Anybody's picture files become squares of grey or RGB pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imgclf.errors import InputError
from imgclf.images.picture_files import list_pictures, read_picture

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def saved(folder: Path, picture: Image.Image, name: str = "a.png", **options: object) -> Path:
    picture.save(folder / name, **options)
    return folder / name


def test_a_grey_png_of_the_stored_form_keeps_every_pixel(tmp_path: Path) -> None:
    pixels = np.arange(784, dtype=np.uint8).reshape(28, 28)
    found = read_picture(saved(tmp_path, Image.fromarray(pixels)), channels=1)
    assert (found.pixels == pixels[None]).all()
    assert (found.size, found.was_colour) == ((28, 28), False)


def test_the_middle_square_is_taken(tmp_path: Path) -> None:
    wide = np.zeros((2, 6, 3), dtype=np.uint8)
    wide[:, :2], wide[:, 2:4], wide[:, 4:] = RED, GREEN, BLUE
    found = read_picture(saved(tmp_path, Image.fromarray(wide)), channels=3)
    assert found.pixels.shape == (3, 2, 2)
    assert (found.pixels == np.array(GREEN, dtype=np.uint8)[:, None, None]).all()
    assert found.was_colour
    tall = read_picture(saved(tmp_path, Image.fromarray(wide.transpose(1, 0, 2))), channels=3)
    assert (tall.pixels == found.pixels).all()


def test_colour_becomes_grey_as_the_eye_weighs_it(tmp_path: Path) -> None:
    found = read_picture(saved(tmp_path, Image.new("RGB", (4, 4), GREEN)), channels=1)
    assert np.unique(found.pixels).tolist() == [150]  # 0.587 of 255 (ITU-R 601)


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    found = read_picture(saved(tmp_path, Image.new("L", (4, 4), 77)), channels=3)
    assert found.pixels.tolist() == np.full((3, 4, 4), 77).tolist()
    assert not found.was_colour


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_keep_their_range(tmp_path: Path, channels: int) -> None:
    deep = np.full((4, 4), 32896, dtype=np.uint16)  # 128 of 255
    found = read_picture(saved(tmp_path, Image.fromarray(deep)), channels=channels)
    assert np.unique(found.pixels).tolist() == [128]


def test_what_is_transparent_becomes_black(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (4, 4), (255, 255, 255, 0))
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([255, 255, 255] + [0, 0, 0] * 255)
    for picture, options in ((clear, {}), (palette, {"transparency": 0}), (Image.new("LA", (4, 4), (255, 0)), {})):
        assert not read_picture(saved(tmp_path, picture, **options), channels=1).pixels.any()


def test_a_photograph_is_put_upright(tmp_path: Path) -> None:
    lying = np.zeros((16, 16, 3), dtype=np.uint8)
    lying[:8] = 255  # bright above
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    found = read_picture(saved(tmp_path, Image.fromarray(lying), "a.jpg", exif=exif, quality=100), channels=1)
    assert found.pixels[0, :, :6].max() < 30, "dark at the left"
    assert found.pixels[0, :, 10:].min() > 225, "bright at the right"


@pytest.mark.parametrize("kind", ["cut short", "text", "empty", "a BMP in disguise"])
def test_a_damaged_file_is_named(tmp_path: Path, kind: str) -> None:
    file = saved(tmp_path, Image.effect_noise((32, 32), 50), "Ä b.png")
    if kind == "cut short":
        file.write_bytes(file.read_bytes()[:200])
    elif kind == "a BMP in disguise":
        Image.new("L", (4, 4)).save(file, format="BMP")
    else:
        file.write_text("no picture" if kind == "text" else "")
    with pytest.raises(InputError, match=r"Ä b\.png cannot be read as PNG or JPEG: "):
        read_picture(file, channels=1)


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="decompression bomb"):
        read_picture(saved(tmp_path, Image.new("L", (30, 30))), channels=1)


def test_files_are_listed_by_name_and_only_pictures(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.jpeg", "c.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [file.name for file in list_pictures(tmp_path)] == ["a.jpeg", "b.JPG", "c.png"]
    assert list_pictures(tmp_path / "c.png") == [tmp_path / "c.png"]


@pytest.mark.parametrize(
    ("name", "message"), [("none", "no such folder or file"), ("empty", "holds 0 entries"), ("a.txt", "is no picture")]
)
def test_what_holds_no_pictures_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match=message):
        list_pictures(tmp_path / name)
