"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 28x28 grey images of clothes in 10 classes."""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imgclf.data.batches import ImageArray, as_tensors
from imgclf.data.module import ImageData
from imgclf.errors import InputError

CLASS_NAMES = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
MINI = Path(__file__).parent / "fashion_mnist_mini"


class FashionMNISTMini(ImageData):
    """The first 1,000 training and 200 test images of each class, which ship with the package."""

    class_names, stored_size = CLASS_NAMES, 28

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
        options: those of :class:`ImageData`.
    """

    def __init__(self, dir: str, system_dir: str | None, download: bool, **options: Any) -> None:
        super().__init__(**options)
        self.dirs = [Path(folder) for folder in (dir, system_dir) if folder is not None]
        self.download = download

    def folder(self) -> Path:
        return next((folder for folder in self.dirs if not _missing(folder)), self.dirs[0])

    def prepare_data(self) -> None:
        """Download what is missing, unless one of the folders has all."""
        missing, dir = _missing(self.folder()), self.dirs[0]
        if missing and not self.download:
            raise InputError(f"data.dir={dir} lacks {', '.join(missing)}: put them there, or give data.download=true")
        for name in missing:
            try:
                _fetch(f"{name}.gz", dir)
            except OSError as error:
                remedy = f"put the four files into data.dir={dir}, or take data=fashion_mnist_mini"
                raise InputError(f"{name} could not be downloaded:{error}\n{remedy}") from error


def _fetch(name: str, dir: Path) -> None:
    """From the first of torchvision's mirrors that gives the published file."""
    from torchvision.datasets import FashionMNIST as Source  # a second to import

    answers = []
    for mirror in Source.mirrors:
        try:
            return download(f"{mirror}{name}", dir / name, dict(Source.resources)[name])
        except (OSError, RuntimeError) as error:  # no answer; another file than the published one
            answers.append(f"\n  {mirror}: {error}")
    raise OSError("".join(answers))


def _missing(folder: Path) -> list[str]:
    return [name for name in FILES if not _file(folder, name).is_file()]


def _file(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_file() else folder / f"{name}.gz"


def download(url: str, target: Path, md5: str | None = None) -> None:
    """Fetch ``target``, written aside and renamed when it is whole; a RuntimeError if its checksum is another."""
    from torchvision.datasets.utils import download_url  # a second to import

    aside = target.with_name(f".{target.name}.part")
    try:
        download_url(url, str(target.parent), aside.name, md5)  # makes the folder, too
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def read_part(folder: Path, part: Literal["train", "t10k"]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images uint8 (n, 1, h, w) and labels int64 (n,) of a part, from its two files, plain or gzipped."""
    images, labels = (read_idx(_file(folder, name)) for name in FILES if name.startswith(part))
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise InputError(f"{folder}: {part} has images {images.shape} and labels {labels.shape}: restore the files")
    return images[:, None], labels.astype(np.int64)


def read_idx(file: Path) -> NDArray[np.uint8]:
    """An array of unsigned bytes in the IDX format, plain or gzipped (whose checksum is compared)."""
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
