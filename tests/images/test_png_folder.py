"""Folders of PNGs: listed in numeric order, decoded exactly, and nothing bad is skipped."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from imgclf.errors import InputError
from imgclf.images.png_folder import decode_png, decode_png_folder, list_png_folder


def as_pillow_reads(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data))).transpose(2, 0, 1)


def decode(folder, target, **options):
    listing = list_png_folder(folder)
    decode_png_folder(folder, listing.ids, target, **({"size": 32, "workers": 1} | options))
    return np.load(target, allow_pickle=False)


@pytest.mark.parametrize("workers", [1, 3])
def test_pixels_are_pillows_in_numeric_order_of_id(tmp_path, png_folder, png_bytes, workers):
    images = decode(png_folder(1203), tmp_path / "a.npy", workers=workers)
    assert (images.shape, images.dtype) == ((1203, 3, 32, 32), np.uint8)
    for number in (1, 2, 10, 250, 251, 1000, 1203):  # 10 follows 9, not 1
        np.testing.assert_array_equal(images[number - 1], as_pillow_reads(png_bytes(number)))
    assert images.reshape(1203, -1).any(axis=1).all()


def test_gaps_in_the_numbering_are_fine(tmp_path, png_folder, png_bytes):
    folder = png_folder(3)
    (folder / "2.png").rename(folder / "700.png")
    assert list_png_folder(folder).ids.tolist() == [1, 3, 700]
    np.testing.assert_array_equal(decode(folder, tmp_path / "a.npy")[2], as_pillow_reads(png_bytes(2)))


def test_another_size_is_a_parameter(tmp_path, png_bytes):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "1.png").write_bytes(png_bytes(1, size=48))
    assert decode(tmp_path / "p", tmp_path / "a.npy", size=48).shape == (1, 3, 48, 48)


def with_wrong_bits(data: bytes) -> bytes:
    """A 16-bit RGB image: the header says so, and that is where it is refused."""
    header = data[12:24] + b"\x10" + data[25:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda png: png(5)[:-1000], "is cut short"),
        (lambda png: png(5)[:-4], "is cut short"),
        (lambda png: png(5)[:20], "is cut short"),
        (lambda png: b"", "is not a PNG"),
        (lambda png: b"GIF89a" + bytes(50), "is not a PNG"),
        (lambda png: png(5, mode="L"), "is 8-bit grey"),
        (lambda png: png(5, mode="P"), "is 8-bit palette"),
        (lambda png: png(5, mode="RGBA"), "is 8-bit RGBA"),
        (lambda png: png(5, mode="LA"), "is 8-bit grey with alpha"),
        (lambda png: png(5, mode="1"), "is 1-bit grey"),
        (lambda png: png(5, size=64), "is 64x64 pixels"),
        (lambda png: with_wrong_bits(png(5)), "is 16-bit RGB"),
        (lambda png: png(5)[:200] + bytes(900) + png(5)[1100:], "is damaged"),
    ],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_one_bad_image_stops_it_by_name(tmp_path, png_folder, png_bytes, bad, message, workers):
    folder = png_folder(600 if workers == 2 else 10)
    (folder / "7.png").write_bytes(bad(png_bytes))
    with pytest.raises(InputError, match=rf"32x32 pixels, but\n  7\.png: .*{message}"):
        decode(folder, tmp_path / "a.npy", workers=workers)


def test_no_single_wrong_bit_goes_unnoticed(png_bytes):
    good = png_bytes(1)
    for position in range(0, len(good), 7):
        data = bytearray(good)
        data[position] ^= 1
        with pytest.raises(ValueError, match=r"PNG|cut short|damaged"):
            decode_png(bytes(data), 32)


def test_several_bad_images_are_all_named(tmp_path, png_folder):
    folder = png_folder(10)
    for number in (2, 9):
        (folder / f"{number}.png").write_bytes(b"no")
    with pytest.raises(InputError, match=r"2\.png: .*\n  9\.png: "):
        decode(folder, tmp_path / "a.npy")


@pytest.mark.parametrize("stray", ["Thumbs.db", "0.png", "01.png", "1.PNG", "a.png", "1.png.part", "-1.png"])
def test_a_stray_file_is_named(png_folder, stray):
    folder = png_folder(2)
    (folder / stray).touch()
    with pytest.raises(InputError, match=stray):
        list_png_folder(folder)


def test_a_folder_missing_or_empty_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder"):
        list_png_folder(tmp_path / "none")
    with pytest.raises(InputError, match="is empty"):
        list_png_folder(tmp_path)


def test_no_workers_is_refused(tmp_path, png_folder):
    with pytest.raises(InputError, match="workers must be at least 1"):
        decode(png_folder(1), tmp_path / "a.npy", workers=0)
