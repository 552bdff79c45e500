"""The competition in small, made on the spot."""

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import py7zr
import pytest
from PIL import Image

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture
def png_bytes() -> Callable[..., bytes]:
    def make(number: int, size: int = 32, mode: str = "RGB") -> bytes:
        """An image that differs for each number."""
        pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(stream, "PNG")
        return stream.getvalue()

    return make


@pytest.fixture
def png_folder(tmp_path: Path, png_bytes: Callable[..., bytes]) -> Callable[[int], Path]:
    def make(images: int) -> Path:
        folder = tmp_path / "pngs"
        folder.mkdir()
        for number in range(1, images + 1):
            (folder / f"{number}.png").write_bytes(png_bytes(number))
        return folder

    return make


@pytest.fixture
def seven_zip() -> Callable[[Path, Mapping[str, bytes]], Path]:
    def make(path: Path, members: Mapping[str, bytes]) -> Path:
        with py7zr.SevenZipFile(path, "w", filters=[{"id": py7zr.FILTER_LZMA2, "preset": 0}]) as archive:
            for name, data in members.items():
                archive.writestr(data, name)
        return path

    return make


@pytest.fixture
def competition(
    tmp_path: Path, png_bytes: Callable[..., bytes], seven_zip: Callable[[Path, Mapping[str, bytes]], Path]
) -> Callable[..., Path]:
    def make(train: int = 20, test: int = 7) -> Path:
        """cifar-10.zip with `train` images, labelled one class after the other, and `test` images."""
        parts = tmp_path / "parts"
        parts.mkdir()
        for part, count in (("train", train), ("test", test)):
            members = {f"{part}/{number}.png": png_bytes(number) for number in range(1, count + 1)}
            seven_zip(parts / f"{part}.7z", members)
        labels = "".join(f"{number},{CLASSES[number % 10]}\n" for number in range(1, train + 1))
        (parts / "trainLabels.csv").write_text("id,label\n" + labels)
        sample = "".join(f"{number},cat\n" for number in range(1, test + 1))
        (parts / "sampleSubmission.csv").write_text("id,label\n" + sample)
        archive = tmp_path / "cifar-10.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            for file in sorted(parts.iterdir()):
                packed.write(file, file.name)
        return archive

    return make
