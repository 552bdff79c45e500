"""Decode a folder of PNGs once, keep the pixels as one array on disk, and notice when the folder has changed.

A finished entry is a folder `<name>-<size>px-<fingerprint>/` with

- `images.npy`: uint8 (n, 3, size, size), in numeric order of the ids;
- `sources.npy`: int64 (n, 3), each image's id, file size in bytes and modification time in nanoseconds;
- `fingerprint.json`: the format, the source folder, the image size, n, and the SHA-256 over all these.

It is built under another name and renamed when whole, so a half-written entry is never found; two processes
that build the same one at the same time each make their own, and the second to finish throws its away.
"""

import hashlib
import json
import logging
import math
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgclf.errors import InputError
from imgclf.images.archives import require_room
from imgclf.images.locking import is_held, only_one
from imgclf.images.png_folder import CHANNELS, PngFolder, decode_png_folder, list_png_folder

log = logging.getLogger(__name__)

_FORMAT = 1
_ASIDE = ".building-"
# A build was killed where nobody holds its folder, once it had time to, or, without locks, where none has touched it.
_TIME_TO_HOLD_SECONDS = 60
_ABANDONED_SECONDS = 3600


@dataclass(frozen=True)
class CachedImages:
    """All images of a folder: `ids` int64 (n,), ascending; `images` uint8 (n, 3, h, w), a memory map.

    The memory map is read-only. `fingerprint` is a hash over the names, sizes and modification times of the
    files and the image size.
    """

    ids: NDArray[np.int64]
    images: np.memmap
    fingerprint: str


def cached_images(folder: Path, cache_dir: Path, *, size: int, workers: int | None = None) -> CachedImages:
    """The pixels of all `<id>.png` in `folder`: from the cache where it fits, else decoded into it.

    `size` is the side in pixels that every image must have; `workers` as in `decode_png_folder`. The log says
    why images are decoded again. Raises InputError as `list_png_folder` and `decode_png_folder`, if the disk
    has no room, or if the folder changes meanwhile.
    """
    listing = list_png_folder(folder)
    fingerprint = _fingerprint(listing, size)
    entry = cache_dir / f"{folder.resolve().name}-{size}px-{fingerprint[:16]}"
    if not _is_whole(entry, fingerprint):
        outdated = _outdated(folder, cache_dir, size, entry)
        _say_why(listing, outdated)
        _build(listing, entry, fingerprint, size, workers)
        for old in outdated:
            shutil.rmtree(old, ignore_errors=True)
    images = np.load(entry / "images.npy", mmap_mode="r", allow_pickle=False)
    return CachedImages(listing.ids, images, fingerprint)


def _fingerprint(listing: PngFolder, size: int) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {CHANNELS} {size} {len(listing.ids)}\n".encode())
    digest.update(_table(listing).astype("<i8").tobytes())
    return digest.hexdigest()


def _table(listing: PngFolder) -> NDArray[np.int64]:
    return np.stack([listing.ids, listing.sizes, listing.mtimes_ns], axis=1)


def _is_whole(entry: Path, fingerprint: str) -> bool:
    """Whether the entry is there, for these sources, and its array has the length that its record says."""
    if not entry.is_dir():
        return False
    try:
        record = json.loads((entry / "fingerprint.json").read_text())
        array = entry / "images.npy"
        return bool(record["fingerprint"] == fingerprint and array.stat().st_size == record["bytes"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _outdated(folder: Path, cache_dir: Path, size: int, entry: Path) -> list[Path]:
    """Entries made earlier from the same folder at the same size."""
    found = []
    for record_file in cache_dir.glob("*/fingerprint.json"):
        try:
            record = json.loads(record_file.read_text())
            same = (record["folder"], record["size"]) == (str(folder.resolve()), size)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if same and not record_file.parent.name.startswith(_ASIDE) and record_file.parent != entry:
            found.append(record_file.parent)
    return found


def _say_why(listing: PngFolder, outdated: list[Path]) -> None:
    reason = "not decoded before"
    if outdated:
        try:
            before = np.load(outdated[0] / "sources.npy", allow_pickle=False)
        except (OSError, ValueError):
            reason = "the earlier cache cannot be read"
        else:
            now = _table(listing)
            kept, position_before, position_now = np.intersect1d(before[:, 0], now[:, 0], return_indices=True)
            changed = int((before[position_before] != now[position_now]).any(axis=1).sum())
            added, removed = len(now) - len(kept), len(before) - len(kept)
            reason = f"since last time {added} files were added, {removed} removed, {changed} changed"
    log.info("decoding %d images of %s: %s", len(listing.ids), listing.folder, reason)


def _build(listing: PngFolder, entry: Path, fingerprint: str, size: int, workers: int | None) -> None:
    cache_dir = entry.parent
    cache_dir.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(cache_dir)
    require_room(cache_dir, [len(listing.ids) * CHANNELS * size * size])
    aside = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=cache_dir))
    try:
        with only_one(aside):
            _fill(aside, listing, fingerprint, size, workers)
            _publish(aside, entry, fingerprint)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _fill(aside: Path, listing: PngFolder, fingerprint: str, size: int, workers: int | None) -> None:
    array = aside / "images.npy"
    decode_png_folder(listing.folder, listing.ids, array, size=size, workers=workers)
    np.save(aside / "sources.npy", _table(listing), allow_pickle=False)
    record = {
        "format": _FORMAT,
        "folder": str(listing.folder.resolve()),
        "size": size,
        "images": len(listing.ids),
        "bytes": array.stat().st_size,
        "fingerprint": fingerprint,
    }
    (aside / "fingerprint.json").write_text(json.dumps(record, indent=2) + "\n")
    if _fingerprint(list_png_folder(listing.folder), size) != fingerprint:
        raise InputError(f"{listing.folder} changed while its images were decoded; let that end, then run again.")
    aside.chmod(0o755)  # mkdtemp makes it private; others may read a cache on a shared disk


def _publish(aside: Path, entry: Path, fingerprint: str) -> None:
    """Give the finished folder its name, unless another process has finished the same meanwhile."""
    if entry.exists() and not _is_whole(entry, fingerprint):
        shutil.rmtree(entry, ignore_errors=True)  # damaged after it was finished
    try:
        aside.replace(entry)
    except OSError:
        if not _is_whole(entry, fingerprint):
            raise


def _clear_abandoned(cache_dir: Path) -> None:
    for aside in cache_dir.glob(f"{_ASIDE}*"):
        try:
            newest = max((path.stat().st_mtime for path in aside.iterdir()), default=aside.stat().st_mtime)
            limit = {True: math.inf, False: _TIME_TO_HOLD_SECONDS, None: _ABANDONED_SECONDS}[is_held(aside)]
        except OSError:
            continue  # another process has just finished with it
        if time.time() - newest > limit:
            shutil.rmtree(aside, ignore_errors=True)
