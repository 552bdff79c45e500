"""The small balanced part of Fashion-MNIST that ships with the package: how it is made."""

import hashlib
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from imgclf.images.fashion_mnist import FILES, FULL_SHA256, read_fashion_mnist
from imgclf.images.idx import write_idx

PER_CLASS: dict[Literal["train", "t10k"], int] = {"train": 1000, "t10k": 200}


def first_of_each_class(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Positions, in rising order, of the first ``count`` of each class; labels int64 (n,)."""
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)]))


def make_mini(source: Path, target: Path) -> dict[Path, str]:
    """Write the first 1,000 training and 200 test images of each class, in their original order.

    Args:
        source: folder of the full files, plain or gzipped.
        target: folder for the four gzipped IDX files.

    Returns:
        The SHA-256 of the uncompressed content, by file.
    """
    arrays: list[NDArray[np.uint8]] = []
    for part, count in PER_CLASS.items():
        images, labels = read_fashion_mnist(source, part, FULL_SHA256)
        chosen = first_of_each_class(labels, count)
        arrays += [images[chosen, 0], labels[chosen].astype(np.uint8)]
    target.mkdir(parents=True, exist_ok=True)
    digests = {}
    for name, array in zip(FILES, arrays, strict=True):
        content = write_idx(array)
        file = target / f"{name}.gz"
        file.write_bytes(gzipped(content))
        digests[file] = hashlib.sha256(content).hexdigest()
    return digests


def gzipped(content: bytes) -> bytes:
    """Gzip form (RFC 1952) without time, name or system, which Python's own function sets by version."""
    deflate = zlib.compressobj(level=9, wbits=-zlib.MAX_WBITS)
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    return header + deflate.compress(content) + deflate.flush() + struct.pack("<II", zlib.crc32(content), len(content))
