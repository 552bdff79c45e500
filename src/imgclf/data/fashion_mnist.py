"""Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 28x28 grey images of clothes in 10 classes."""

import gzip
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imgclf.data.batches import ImageArray, as_tensors
from imgclf.data.module import ImageData
from imgclf.errors import InputError
from imgclf.run_folder import written_aside

CLASS_NAMES = (
    *("t-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
FILES = tuple(f"{part}-{kind}-ubyte" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
MINI = Path(__file__).parent / "fashion_mnist_mini"


class FashionMNISTMini(ImageData):
    """The first 1,000 training and 200 test images of each class, which ship with the package."""

    class_names, stored_size = CLASS_NAMES, 28
    folder = MINI  # where the four files lie

    def read_train(self) -> ImageArray:
        return as_tensors(*read_part(self.folder, "train"))

    def read_test(self) -> ImageArray:
        return as_tensors(*read_part(self.folder, "t10k"))


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
        dirs = [Path(folder) for folder in (dir, system_dir) if folder is not None]
        self.folder = next((folder for folder in dirs if not _missing(folder)), dirs[0])
        self.download = download

    def prepare_data(self) -> None:
        """Download what is missing, unless one of the folders has all."""
        missing = _missing(self.folder)
        if missing and not self.download:
            told = f"data.dir={self.folder} lacks {', '.join(missing)}"
            raise InputError(f"{told}: put them there, or give data.download=true or data=fashion_mnist_mini")
        for name in missing:
            from torchvision.datasets import FashionMNIST as Source  # a second to import

            file = f"{name}.gz"
            download(f"{Source.mirrors[0]}{file}", self.folder / file, dict(Source.resources)[file])


def _missing(folder: Path) -> list[str]:
    return [name for name in FILES if not _file(folder, name).is_file()]


def _file(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_file() else folder / f"{name}.gz"


def download(url: str, target: Path, md5: str | None = None) -> None:
    """Fetch ``target`` unless it is there; written aside and renamed when whole, its checksum right."""
    from torchvision.datasets.utils import check_integrity, download_url  # a second to import

    if check_integrity(str(target), md5):
        return
    try:
        if not url:
            raise ValueError("a run folder alone downloads nothing")
        with written_aside(target) as aside:
            download_url(url, str(aside.parent), aside.name, md5)
    except (OSError, RuntimeError, ValueError) as error:  # no answer; another file; no address
        raise InputError(f"{target} could not be downloaded from {url!r} ({error}): put it there by hand") from error


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
        if data[:3] != b"\0\0\x08":
            raise ValueError("it holds no unsigned bytes")
        shape = np.frombuffer(data, ">u4", data[3], offset=4)
        return np.frombuffer(bytearray(data), np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
    except (OSError, EOFError, zlib.error, IndexError, ValueError) as error:
        raise InputError(f"{file} cannot be used ({error}): delete it and run again, or give another folder") from error
