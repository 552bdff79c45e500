"""A folder of `<id>.png` files: what is in it, and all of it decoded into one array on disk.

Decoding runs in processes, not threads: for images of a few thousand bytes most of the work is Python's own,
and two threads were slower than one (9,000 against 14,000 images a second, with 32x32 images; two processes
27,000).
"""

import io
import multiprocessing
import os
import re
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from imgclf.errors import InputError

CHANNELS = 3
_NAME = re.compile(r"([1-9][0-9]{0,17})\.png")
_CHUNK = 250  # images a task: large enough to hide its overhead, small enough for an even end
_IMAGES_WORTH_A_PROCESS = 500  # some 30 ms of decoding, more than a process takes to start
_LOOK_SECONDS = 1.0  # how often a further process looks whether the first is still there
_QUEUED_TASKS = 2  # waiting for each further process: enough that none is idle, few enough that all end together
_SHOWN = 10  # bad files named in an error; the search stops at the first task that reaches it
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}


@dataclass(frozen=True)
class PngFolder:
    """The PNGs of a folder, ascending by id: `ids`, `sizes` (bytes) and `mtimes_ns`, each int64 (n,)."""

    folder: Path
    ids: NDArray[np.int64]
    sizes: NDArray[np.int64]
    mtimes_ns: NDArray[np.int64]


def list_png_folder(folder: Path) -> PngFolder:
    """List the `<id>.png` files of a folder in numeric order of id, independent of the file system's order.

    Raises InputError if the folder is missing or empty or holds anything else, naming it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; it must hold the images <id>.png.")
    rows: list[tuple[int, int, int]] = []
    strays: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            if match and entry.is_file():
                status = entry.stat()
                rows.append((int(match[1]), status.st_size, status.st_mtime_ns))
            else:
                strays.append(entry.name)
    if strays:
        shown = ", ".join(repr(name) for name in sorted(strays)[:_SHOWN])
        more = f" and {len(strays) - _SHOWN:,} more" if len(strays) > _SHOWN else ""
        raise InputError(f"{folder} holds {shown}{more}, which is no image <id>.png; move that elsewhere.")
    if not rows:
        raise InputError(f"{folder} is empty; it must hold the images <id>.png.")
    table = np.asarray(sorted(rows), dtype=np.int64)
    return PngFolder(folder, table[:, 0], table[:, 1], table[:, 2])


def decode_png_folder(folder: Path, ids: NDArray[np.int64], target: Path, *, size: int, workers: int | None) -> None:
    """Decode `<id>.png` for each id into one .npy file: uint8 (n, 3, size, size), in the order of `ids`.

    `workers` is the number of processes; None means one for each core this process may use. Memory stays
    small however many images there are: each worker writes its part of the file. Raises InputError that names
    the files if any image is not an 8-bit RGB PNG of `size` by `size` pixels, or is damaged or cut short;
    none is skipped. `target` is then incomplete.
    """
    shape = (len(ids), CHANNELS, size, size)
    np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape).flush()
    offset = target.stat().st_size - int(np.prod(shape))
    tasks = (
        (folder, ids[first : first + _CHUNK], target, offset + first * CHANNELS * size * size, size)
        for first in range(0, len(ids), _CHUNK)
    )
    wanted = workers if workers is not None else _cores()
    if wanted < 1:
        raise InputError(f"workers must be at least 1, got {workers}.")
    processes = min(wanted, -(-len(ids) // _IMAGES_WORTH_A_PROCESS))
    results = (_decode_chunk(*task) for task in tasks) if processes == 1 else _in_processes(tasks, processes)
    bad: list[str] = []
    with tqdm(total=len(ids), desc=f"decoding {folder.name}", unit="image", disable=None) as bar:
        for done, chunk_bad in results:
            bar.update(done)
            bad += chunk_bad
            if len(bad) >= _SHOWN:
                break
    if bad:
        raise InputError(
            f"{folder}: every image must be an 8-bit RGB PNG of {size}x{size} pixels, but\n  "
            + "\n  ".join(sorted(bad)[:_SHOWN])
            + "\nReplace these files (unpack the archive again), or say another image size."
        )


_Task = tuple[Path, NDArray[np.int64], Path, int, int]
_Result = tuple[int, list[str]]  # images done, what is wrong with the bad ones


def _in_processes(tasks: Iterator[_Task], processes: int) -> Iterator[_Result]:
    """Decode in this process and `processes - 1` others; this one is at work while the others still start."""
    # Forked as torch's own DataLoader does: at work in milliseconds, where a fresh interpreter costs as much
    # as decoding 5,000 images. The child touches Pillow and files only, none of the locks that threads of
    # this process may hold.
    start = "fork" if sys.platform == "linux" else "spawn"
    context = multiprocessing.get_context(start)
    pool = ProcessPoolExecutor(processes - 1, context, initializer=_end_with, initargs=(os.getpid(),))
    waiting: set[Future[_Result]] = set()
    try:
        while True:
            room = _QUEUED_TASKS * (processes - 1) - len(waiting)
            waiting |= {pool.submit(_decode_chunk, *task) for task in islice(tasks, room)}
            own = next(tasks, None)
            if own is None:
                break
            yield _decode_chunk(*own)
            finished = {future for future in waiting if future.done()}
            waiting -= finished
            yield from (future.result() for future in finished)
        yield from (future.result() for future in as_completed(waiting))
    except BrokenProcessPool as error:
        raise InputError(
            "A decoding process ended early. Was it killed for want of memory? Where processes cannot be "
            "forked, a script must also keep its code under `if __name__ == '__main__':`. workers=1 decodes "
            "without further processes."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with(parent: int) -> None:
    """In a further process: end when the one that started it is gone, killed perhaps, instead of waiting for tasks."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _decode_chunk(folder: Path, ids: NDArray[np.int64], target: Path, offset: int, size: int) -> _Result:
    """Decode some images and write them at `offset` bytes; nothing is written if one of them is bad."""
    pixels: list[bytes] = []
    bad: list[str] = []
    for number in ids.tolist():
        name = f"{number}.png"
        try:
            with io.FileIO(os.path.join(folder, name)) as source:  # noqa: PTH118 (a Path costs as much as the reading)
                pixels.append(decode_png(source.readall(), size))
        except (
            ValueError,
            OSError,
            SyntaxError,
            Image.DecompressionBombError,
        ) as error:  # what Pillow raises
            bad.append(f"{name}: {error}")
    if not bad:
        hwc = np.frombuffer(b"".join(pixels), dtype=np.uint8).reshape(len(ids), size, size, CHANNELS)
        with target.open("r+b") as sink:
            sink.seek(offset)
            sink.write(np.ascontiguousarray(hwc.transpose(0, 3, 1, 2)).data)
    return len(ids), bad


def decode_png(data: bytes, size: int) -> bytes:
    """Decode an 8-bit RGB PNG of `size` by `size` pixels into rows of R, G, B bytes, size*size*3 in all.

    Raises ValueError, or an error of Pillow's, for anything else.
    """
    if not data.startswith(_PNG_SIGNATURE):
        raise ValueError("is not a PNG file")
    _check_chunks(data)
    if data[12:16] != b"IHDR":
        raise ValueError("is no PNG file (it has no header)")
    # The header's fields lie at fixed places; Pillow would convert some kinds without saying so.
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    bits, colour = data[24], data[25]
    if (width, height) != (size, size):
        raise ValueError(f"is {width}x{height} pixels")
    if (bits, colour) != (8, 2):
        raise ValueError(f"is {bits}-bit {_COLOUR_TYPES.get(colour, 'of unknown colour')}")
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        return image.tobytes()


def _check_chunks(data: bytes) -> None:
    """Raise ValueError unless all chunks are there and right; Pillow itself lets some wrong bits pass."""
    position = len(_PNG_SIGNATURE)
    while True:
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")  # length, type, ..., checksum
        if end > len(data):
            raise ValueError("is cut short")
        if zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError("is damaged (wrong checksum)")
        if data[position + 4 : position + 8] == b"IEND":
            return
        position = end


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
