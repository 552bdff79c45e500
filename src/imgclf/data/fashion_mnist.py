"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 28x28 grey images of clothes in 10 classes."""

import gzip
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imgclf.data.batches import ImageArray
from imgclf.data.download import download
from imgclf.data.module import ImageData, as_tensors
from imgclf.errors import InputError

CLASS_NAMES = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
MINI = Path(__file__).parent / "fashion_mnist_mini"


class FashionMNISTMini(ImageData):
    """The first 1,000 training and 200 test images of each class, which ship with the package.

    Args:
        options: those of :class:`ImageData`.
    """

    class_names = CLASS_NAMES

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def read_train(self) -> ImageArray:
        return as_tensors(*read_part(self.folder(), "train"))

    def read_test(self) -> ImageArray:
        return as_tensors(*read_part(self.folder(), "t10k"))

    def folder(self) -> Path:
        """Where the four files lie."""
        return MINI


class FashionMNIST(FashionMNISTMini):
    """All 60,000 training and 10,000 test images.

    Args:
        dir: folder of the four IDX files, plain or gzipped; downloads go here.
        system_dir: folder to look in next, such as the one that a system package fills; None for none.
        download: fetch the files where neither folder has them.
        mirrors: addresses to which the files' names are appended; None for torchvision's.
        options: those of :class:`ImageData`.
    """

    def __init__(
        self, dir: str, system_dir: str | None, download: bool, mirrors: Sequence[str] | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.dir = Path(dir)
        self.system_dir = None if system_dir is None else Path(system_dir)
        self.download = download
        self.mirrors = mirrors

    def prepare_data(self) -> None:
        """Download what is missing, unless one of the folders has all."""
        if any(not _missing(folder) for folder in (self.dir, self.system_dir) if folder is not None):
            return
        if not self.download:
            raise InputError(
                f"data.dir={self.dir} lacks {', '.join(_missing(self.dir))} (plain or with .gz), and so does "
                f"data.system_dir={self.system_dir}: set data.download=true, or put the four IDX files into data.dir"
            )
        for name in _missing(self.dir):
            self._fetch(f"{name}.gz")

    def folder(self) -> Path:
        for folder in (self.dir, self.system_dir):
            if folder is not None and not _missing(folder):
                return folder
        raise InputError(f"no Fashion-MNIST files in data.dir={self.dir}: run again to download them")

    def _fetch(self, name: str) -> None:
        from torchvision.datasets import FashionMNIST as Source  # a second to import

        answers = []
        for mirror in self.mirrors or Source.mirrors:
            try:
                download(f"{mirror.rstrip('/')}/{name}", self.dir / name, dict(Source.resources)[name])
                return
            except (OSError, RuntimeError) as error:  # no answer; another file than the published one
                answers.append(f"\n  {mirror}: {error}")
        raise InputError(
            f"{name} could not be downloaded:{''.join(answers)}\nput the four files into data.dir={self.dir}, install "
            "Debian's package dataset-fashion-mnist, or take data=fashion_mnist_mini, which needs no network"
        )


def read_part(folder: Path, part: Literal["train", "t10k"]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read the two files of a part.

    Args:
        folder: has them, plain or gzipped.
        part: ``train`` or ``t10k``, the test images.

    Returns:
        Images uint8 (n, 1, h, w) and labels int64 (n,).

    Raises:
        InputError: a file is missing or damaged, or the two do not fit.
    """
    images, labels = (read_idx(_file(folder, name)) for name in FILES if name.startswith(part))
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise InputError(f"{folder}: {part} has images {images.shape} and labels {labels.shape}: restore the files")
    return images[:, None], labels.astype(np.int64)


def read_idx(file: Path) -> NDArray[np.uint8]:
    """An array of unsigned bytes in the IDX format, plain or gzipped (whose checksum is compared).

    Raises:
        InputError: the file is damaged or another.
    """
    try:
        data = file.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        dimensions = data[3]
        shape = struct.unpack(f">{dimensions}I", data[4 : 4 + 4 * dimensions])
        pixels = data[4 + 4 * dimensions :]
        if data[:3] != b"\0\0\x08" or len(pixels) != math.prod(shape):
            raise ValueError(f"it promises {'x'.join(map(str, shape))} unsigned bytes and has {len(pixels):,}")
    except (OSError, EOFError, zlib.error, struct.error, IndexError, ValueError) as error:
        raise InputError(f"{file} cannot be used ({error}): delete it and run again, or give another folder") from error
    return np.frombuffer(bytearray(pixels), dtype=np.uint8).reshape(shape)


def _file(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_file() else folder / f"{name}.gz"


def _missing(folder: Path) -> list[str]:
    return [name for name in FILES if not _file(folder, name).is_file()]
