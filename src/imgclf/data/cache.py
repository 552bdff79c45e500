"""Picture files decoded once into one uint8 array on disk, which all processes of a machine share.

An entry is a folder with ``images.npy``, uint8 (n, c, s, s); ``sums.npy``, float64 (n, 2, c), of each image the sums
of its values in [0, 1] and of their squares; ``kept.npy``, int64 (n,), which of the files these are. It is made aside,
under a lock, and renamed when whole.
"""

import hashlib
import logging
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from tqdm import tqdm

from imgclf.data.decode import DAMAGE, Decode, why
from imgclf.distributed import cores, leave_with
from imgclf.errors import InputError

log = logging.getLogger(__name__)
OnDamaged = Literal["stop", "skip"]

_ASIDE = ".building-"
_CHUNK = 64  # files a task: enough to hide its overhead, few enough for an even end
_WORTH_A_PROCESS = 500  # small files, decoded in the time that a process takes to start
_SHOWN = 10  # damaged files that are named


@dataclass(frozen=True)
class Decoded:
    """What an entry holds; ``images`` is a read-only memory map, ``key`` stands for files and settings."""

    images: NDArray[np.uint8]
    sums: NDArray[np.float64]
    kept: NDArray[np.int64]
    key: str

    def mean_and_std(self, positions: NDArray[np.int64]) -> tuple[list[float], list[float]]:
        """By channel, of the pixels in [0, 1] of some of the images; to four digits."""
        pixels = len(positions) * self.images.shape[2] * self.images.shape[3]
        mean, square = self.sums[positions].sum(0) / pixels
        std = np.sqrt(np.maximum(square - mean**2, 1e-6))
        return [round(float(m), 4) for m in mean], [round(float(s), 4) for s in std]


def decoded(
    files: Sequence[Path],
    folder: Path,
    decode: Decode,
    *,
    cache_dir: Path | None = None,
    workers: int | None = None,
    on_damaged: OnDamaged = "stop",
) -> Decoded:
    """The pixels of all files, from the cache where it has them as they are now, else decoded into it.

    Args:
        files: in the order of the result.
        folder: that they lie in.
        decode: how.
        cache_dir: where entries go; None for ``.decoded`` in the folder, or where that cannot be written, for the
            user's own cache.
        workers: processes that decode; None for one a core.
        on_damaged: ``stop`` refuses damaged files, ``skip`` leaves them out; both name them.

    Raises:
        InputError: files are damaged, or there is no room.
    """
    digest = hashlib.blake2b(f"1 {decode} {on_damaged}".encode(), digest_size=16)
    for file in files:
        about = file.stat()
        name = str(file)[len(str(folder)) :]
        digest.update(f"\0{name}\0{about.st_size}\0{about.st_mtime_ns}".encode(errors="surrogateescape"))
    key = digest.hexdigest()
    cache_dir = cache_dir or _writable(folder)
    of_folder = f"{folder.name}-{hashlib.blake2b(str(folder.resolve()).encode(), digest_size=4).hexdigest()}"
    entry = cache_dir / f"{of_folder}-{decode.size}px-{key}"
    if not entry.is_dir():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(cache_dir / ".lock"):
            if not entry.is_dir():  # another process may have made it meanwhile
                for abandoned in cache_dir.glob(f"{_ASIDE}*"):
                    shutil.rmtree(abandoned, ignore_errors=True)
                _make(entry, files, folder, decode, workers, on_damaged)
                for old in cache_dir.glob(f"{of_folder}-{decode.size}px-*"):
                    if old != entry:
                        shutil.rmtree(old, ignore_errors=True)
    sums, kept = (np.load(entry / f"{name}.npy", allow_pickle=False) for name in ("sums", "kept"))
    return Decoded(np.load(entry / "images.npy", mmap_mode="r", allow_pickle=False), sums, kept, key)


def _writable(folder: Path) -> Path:
    if os.access(folder, os.W_OK):
        return folder / ".decoded"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "imgclf"


def _make(
    entry: Path, files: Sequence[Path], folder: Path, decode: Decode, workers: int | None, on_damaged: OnDamaged
) -> None:
    size = len(files) * decode.channels * decode.size**2
    free = shutil.disk_usage(entry.parent).free
    if size > free:
        raise InputError(
            f"{entry.parent} needs {size / 2**20:,.0f} MiB for the decoded images, but its disk has "
            f"{free / 2**20:,.0f} MiB free: make room, or give data.cache_dir or a smaller data.stored_size"
        )
    log.info(f"decoding {len(files):,} pictures of {folder} to {decode.size} x {decode.size}: {entry.parent}")
    aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=entry.parent))
    damaged: list[str] = []
    kept: list[int] = []
    sums: list[NDArray[np.float64]] = []
    try:
        with (aside / "pixels").open("wb") as sink, tqdm(total=len(files), unit="image", disable=None) as bar:
            for first, (pixels, part_sums, wrong) in _chunks(files, decode, workers):
                count = min(_CHUNK, len(files) - first)
                kept += [first + place for place in range(count) if place not in wrong]
                damaged += [f"{files[first + place]}: {reason}" for place, reason in wrong.items()]
                sums.append(part_sums)
                sink.write(pixels.data)
                bar.update(count)
        _tell_damaged(damaged, len(files), folder, on_damaged)
        shape = (len(kept), decode.channels, decode.size, decode.size)
        with (aside / "images.npy").open("wb") as sink, (aside / "pixels").open("rb") as source:
            np.lib.format.write_array_header_1_0(sink, {"descr": "|u1", "fortran_order": False, "shape": shape})
            shutil.copyfileobj(source, sink, 2**20)
        (aside / "pixels").unlink()
        np.save(aside / "sums.npy", np.concatenate(sums))
        np.save(aside / "kept.npy", np.array(kept, dtype=np.int64))
        aside.chmod(0o755)  # mkdtemp makes it private; others may read a cache on a shared disk
        aside.replace(entry)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _tell_damaged(damaged: list[str], count: int, folder: Path, on_damaged: OnDamaged) -> None:
    if not damaged:
        return
    more = f"\n  and {len(damaged) - _SHOWN:,} more" if len(damaged) > _SHOWN else ""
    told = "".join(f"\n  {line}" for line in damaged[:_SHOWN])
    text = f"{folder}: {len(damaged):,} of {count:,} pictures cannot be read:{told}{more}"
    if on_damaged == "stop" or len(damaged) == count:
        raise InputError(f"{text}\nreplace them, or leave them out with data.on_damaged=skip")
    log.warning(f"{text}\nthey are left out")


_Chunk = tuple[NDArray[np.uint8], NDArray[np.float64], dict[int, str]]


def _chunks(files: Sequence[Path], decode: Decode, workers: int | None):  # type: ignore[no-untyped-def]
    """Each chunk's first position and what became of it, in their order.

    By processes: for small files most of the work is Python's own, and two threads are slower than one.
    """
    starts = range(0, len(files), _CHUNK)
    tasks = [files[first : first + _CHUNK] for first in starts]
    is_large = sum(file.stat().st_size for file in files[:50]) > 50 * 50_000
    processes = min(workers or cores(), len(files) if is_large else -(-len(files) // _WORTH_A_PROCESS))
    if processes <= 1:
        yield from zip(starts, map(partial(_decode_all, decode=decode), tasks), strict=True)
        return
    # Forked as torch's own DataLoader does: at work in milliseconds. The child touches Pillow and files only.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    with ProcessPoolExecutor(processes, context, leave_with, (os.getpid(),)) as pool:
        try:
            yield from zip(starts, pool.map(partial(_decode_all, decode=decode), tasks), strict=True)
        except BrokenProcessPool as error:
            raise InputError("a decoding process was killed, for want of memory? Give data.decode_workers=1") from error
        finally:
            pool.shutdown(cancel_futures=True)


def _decode_all(files: Sequence[Path], decode: Decode) -> _Chunk:
    """Pixels uint8 (m, c, s, s) and sums float64 (m, 2, c) of those that are whole, and what is wrong with others."""
    pixels = np.empty((len(files), decode.channels, decode.size, decode.size), dtype=np.uint8)
    wrong: dict[int, str] = {}
    for place, file in enumerate(files):
        try:
            pixels[place - len(wrong)] = decode(file)
        except DAMAGE as error:
            wrong[place] = why(error)
    pixels = pixels[: len(files) - len(wrong)]
    values = pixels.astype(np.uint64)
    sums = np.stack([values.sum((2, 3)) / 255, (values**2).sum((2, 3)) / 255**2], axis=1)
    return pixels, sums, wrong
