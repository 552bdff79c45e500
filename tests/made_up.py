"""Kaggle's competition in small: made-up images, lists and archives."""

import io
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import py7zr
from PIL import Image

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN, TEST = 60, 23


def png(number: int, mode: str = "RGB", size: int = 32, kind: str = "PNG") -> bytes:
    """An image in a colour of its own for each class (number mod 10), so that what belongs to an id can be told."""
    label, stream = number % 10, io.BytesIO()
    colour = (25 * label, 255 - 25 * label, 128 if label % 2 else 0)
    Image.new("RGB", (size, size), colour).convert(mode).save(stream, kind)
    return stream.getvalue()


@cache
def competition() -> Mapping[str, bytes]:
    """The files by name; training image i is of class i mod 10, test image i of 7 i mod 10; test ids in no order."""
    files = {f"train/{i}.png": png(i) for i in range(1, TRAIN + 1)}
    files |= {f"test/{i}.png": png(7 * i) for i in range(1, TEST + 1)}
    labels = "".join(f"{i},{CLASSES[i % 10]}\n" for i in range(1, TRAIN + 1))
    files["trainLabels.csv"] = f"id,label\n{labels}".encode()
    order = np.random.default_rng(0).permutation(np.arange(1, TEST + 1))
    files["sampleSubmission.csv"] = ("id,label\n" + "".join(f"{i},cat\n" for i in order)).encode()
    return files


def write(folder: Path) -> None:
    """Write them to a folder."""
    for name, content in competition().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@cache
def seven_zip(part: str) -> bytes:
    """The archive of one part's images."""
    stream = io.BytesIO()
    with py7zr.SevenZipFile(stream, "w", filters=[{"id": py7zr.FILTER_LZMA2, "preset": 0}]) as archive:
        for name, content in competition().items():
            if name.startswith(f"{part}/"):
                archive.writestr(content, name)
    return stream.getvalue()


def archive(changed: Mapping[str, bytes | None] = {}) -> bytes:
    """The zip that Kaggle gives, some members with another content, or missing."""
    members = {f"{part}.7z": seven_zip(part) for part in ("train", "test")}
    members |= {name: content for name, content in competition().items() if name.endswith(".csv")}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        for name, content in {**members, **changed}.items():
            if content is not None:
                packed.writestr(name, content)
    return stream.getvalue()
