"""The files of Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): finding, downloading and reading them."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imgclf.errors import InputError
from imgclf.images.download import download
from imgclf.images.idx import read_idx

CLASS_NAMES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
MAX_DOWNLOAD_BYTES = 30 * 2**20  # the largest of the gzipped files has 26.4 million

# Of the uncompressed files.
FULL_SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
MINI_SHA256 = {
    "train-images-idx3-ubyte": "d33512cfdc636a0d8972818e6659995be209a88891df7fa2109d7895922c8985",
    "train-labels-idx1-ubyte": "620cb8e3b9348037c5ff9a07b02d773ab165330e072dfd19e0d21c59f8042dcf",
    "t10k-images-idx3-ubyte": "15a92dd1e9b16ea361928086e77df4dfa890c255c00b5a8c8162c1040ce8eef1",
    "t10k-labels-idx1-ubyte": "234596aeb6eb48133ec99a62541f90bc0728c9559a681f1e0638037462458f2c",
}


def fashion_mnist_mini_folder() -> Path:
    """Where the part that ships with the package lies."""
    return Path(__file__).parents[1] / "data" / "fashion_mnist_mini"


def missing_files(folder: Path) -> list[str]:
    """Names of those of the four files that a folder lacks, plain and gzipped."""
    return [name for name in FILES if not _file(folder, name).exists()]


def find_fashion_mnist(dir: Path, system_dir: Path | None) -> Path | None:
    """The first of the folders that has the four files, plain or gzipped; None where neither has any.

    Raises:
        InputError: a folder has some of the files but not all, or is no folder.
    """
    for folder in (dir, system_dir):
        if folder is None or not folder.exists():
            continue
        if not folder.is_dir():
            raise InputError(f"{folder} is a file, expected a folder for Fashion-MNIST: give another data.dir")
        missing = missing_files(folder)
        if not missing:
            return folder
        if len(missing) < len(FILES):
            raise InputError(
                f"{folder} lacks {', '.join(missing)} (plain or with .gz): add what is missing, or let it be "
                "downloaded with data.download=true and this folder as data.dir"
            )
    return None


def read_fashion_mnist(
    folder: Path, part: Literal["train", "t10k"], sha256: Mapping[str, str]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read and verify the two files of a part.

    Args:
        folder: has the files, plain or gzipped.
        part: ``train`` or ``t10k``, the test images.
        sha256: of each uncompressed file, by name: ``FULL_SHA256`` or ``MINI_SHA256``.

    Returns:
        Images uint8 (n, 1, 28, 28) and labels int64 (n,).

    Raises:
        InputError: a file is missing, damaged or altered.
    """
    images, labels = (read_idx(_file(folder, name), sha256=sha256[name]) for name in FILES if name.startswith(part))
    return images[:, None], labels.astype(np.int64)


def _file(folder: Path, name: str) -> Path:
    plain = folder / name
    return plain if plain.exists() else folder / f"{name}.gz"


def download_fashion_mnist(dir: Path, mirrors: Sequence[str] | None = None) -> None:
    """Fetch what is missing of the four files, gzipped, each verified before it gets its name.

    Args:
        dir: where they go.
        mirrors: addresses that the files' names are appended to; None for torchvision's.

    Raises:
        InputError: a file could not be had from any mirror.
    """
    if mirrors is None:
        from torchvision.datasets import FashionMNIST  # a second to import; only a download needs it

        mirrors = FashionMNIST.mirrors
    for name in FILES:
        if _file(dir, name).exists():
            continue
        download(
            [f"{mirror.rstrip('/')}/{name}.gz" for mirror in mirrors],
            dir / f"{name}.gz",
            verify=partial(read_idx, sha256=FULL_SHA256[name]),
            max_bytes=MAX_DOWNLOAD_BYTES,
            remedy=f"Check the network; or put the four files into data.dir={dir}; or install Debian's package "
            "dataset-fashion-mnist; or take data=fashion_mnist_mini, which needs no network",
        )
