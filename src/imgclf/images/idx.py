"""The IDX format of MNIST and its successors (described on the MNIST page of LeCun, Cortes and Burges).

Two zero bytes, a type code, the number of dimensions, each dimension as a big-endian 32-bit integer, then the data.
"""

import gzip
import hashlib
import math
import stat
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from imgclf.errors import InputError

UNSIGNED_BYTE = 0x08
MAX_DIMENSIONS = 4
MAX_BYTES = 16 * 2**30
GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 2**24


def read_idx(path: Path, *, sha256: str | None = None) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, plain or gzipped; which of the two is seen from its content.

    Args:
        path: the file.
        sha256: of the uncompressed content, so that plain and gzipped files are verified alike; None to skip that.

    Returns:
        uint8, of the shape in the file's header; contiguous and writable.

    Raises:
        InputError: the file is missing, unreadable, no regular file, truncated, longer than its header says, of another
            type, broken in its compression, or does not have the checksum.
    """
    try:
        # Asked before opening: to open a named pipe is to wait for somebody to write into it.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise InputError(f"{path} is {kind}, expected an IDX file: move it away")
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == GZIP_MAGIC
            raw.seek(0)
            file = cast(IO[bytes], gzip.GzipFile(fileobj=raw) if is_gzip else raw)
            return _read(file, path, sha256)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, f"its compression is broken: {error}") from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror or error}): give a folder that has it and may be read"
        ) from error


def write_idx(array: NDArray[np.uint8]) -> bytes:
    """The IDX form of a uint8 array, uncompressed."""
    header = struct.pack(f">HBB{array.ndim}I", 0, UNSIGNED_BYTE, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array).tobytes()


def _read(file: IO[bytes], path: Path, sha256: str | None) -> NDArray[np.uint8]:
    start = file.read(4)
    if len(start) < 4:
        raise _damaged(path, f"it ends after {len(start)} bytes")
    if start[:2] != b"\0\0" or not 1 <= start[3] <= MAX_DIMENSIONS:
        raise _damaged(path, f"it begins with {start.hex(' ')}, which is not the start of an IDX file")
    if start[2] != UNSIGNED_BYTE:
        raise _damaged(path, f"its data are of type 0x{start[2]:02x}, expected 0x08, unsigned bytes")
    dimensions = file.read(4 * start[3])
    if len(dimensions) < 4 * start[3]:
        raise _damaged(path, "it ends within its header")
    shape = struct.unpack(f">{start[3]}I", dimensions)
    size = math.prod(shape)
    # A dimension of 0 must not hide that the others are absurd: numpy refuses such a shape in its own way.
    if math.prod(length or 1 for length in shape) > MAX_BYTES:
        raise _damaged(path, f"its header speaks of {'x'.join(map(str, shape))} values")
    # Read in pieces, so that a header which promises more than there is costs no memory; one byte further than
    # promised, which shows what is too long and has gzip verify its own checksum.
    data = bytearray()
    while len(data) <= size and (piece := file.read(min(CHUNK, size + 1 - len(data)))):
        data += piece
    if len(data) != size:
        found = f"only {len(data):,}" if len(data) < size else "more"
        raise _damaged(path, f"its header speaks of {size:,} bytes, there are {found}")
    if sha256 is not None:
        digest = hashlib.sha256(start + dimensions)
        digest.update(data)
        if digest.hexdigest() != sha256:
            raise _damaged(path, "its content is not that of the published file (checksum)")
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(f"{path} is damaged: {reason}. Delete it and run again, or give another folder")
