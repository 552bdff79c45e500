"""Picture files, whoever made them -> one uint8 array on disk, decoded once, which all processes of a machine share.

An entry of the cache is a folder with ``images.bin``, uint8 (n, c, s, s); ``sums.npy``, float64 (n, 2, c), of each
image the sums of its values in [0, 1] and of their squares; ``kept.npy``, int64 (n,), which of the files these are.
It is made aside, under a lock, and renamed when whole.
"""

import contextlib
import glob
import hashlib
import io
import logging
import os
import shutil
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch.utils.data import DataLoader
from tqdm import tqdm

from imgclf.data.batches import ImageArray, as_tensors, leave_interrupts, sums_of
from imgclf.distributed import cores
from imgclf.errors import InputError

log = logging.getLogger(__name__)
Fit = Literal["centre", "letterbox"]
OnDamaged = Literal["stop", "skip"]

# What Pillow raises for damaged files.
DAMAGE = (OSError, ValueError, SyntaxError, IndexError, struct.error, Image.DecompressionBombError)
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
# More than one byte a channel; Pillow would cut their values off at 255.
_DEEP_GREY = {"I": 65535, "I;16": 65535, "I;16B": 65535, "I;16L": 65535, "F": 1}
_CHUNK, _AHEAD = 16, 8  # files a task, and tasks that wait for each process, so that none waits for another
_FILES, _BYTES = 500, 10_000_000  # decoded in the time that a process takes to start
_SHOWN = 10  # damaged files that are named


def why(error: BaseException) -> str:
    """What is wrong with a file, in a line."""
    return str(error).partition("\n")[0].partition(" <_io")[0] or type(error).__name__


@dataclass(frozen=True)
class Decode:
    """Decode pictures of any size and mode; the first step of preprocessing, in training as in prediction.

    Args:
        channels: 1 for grey, 3 for RGB.
        size: side of the result in pixels.
        fit: what becomes of a picture that is not square: ``centre`` keeps its middle square, ``letterbox`` all of it
            between black stripes.
    """

    channels: int
    size: int
    fit: Fit = "centre"

    def __call__(self, source: Path | Image.Image) -> NDArray[np.uint8]:
        """Pixels uint8 (channels, size, size); raises one of ``DAMAGE`` for what is no whole picture."""
        if self.channels not in (1, 3):
            raise InputError(f"pictures have 1 or 3 channels, this run's images {self.channels}")
        fitted = _upright(self._opened(source) if isinstance(source, Path) else source.copy())
        if self.fit == "letterbox":
            shape = [max(1, round(side / max(fitted.size) * self.size)) for side in fitted.size]
            fitted = ImageOps.pad(fitted.resize(shape, Image.Resampling.BILINEAR), (self.size, self.size))
        else:
            fitted = ImageOps.fit(fitted, (self.size, self.size), Image.Resampling.BILINEAR)
        # A copy: Pillow's own pixels may not be written to, which torch warns of.
        pixels = np.array(fitted.convert("L" if self.channels == 1 else "RGB"))
        return pixels[None] if self.channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def _opened(self, file: Path) -> Image.Image:
        data = file.read_bytes()
        picture = Image.open(io.BytesIO(data), formats=_FORMATS)
        if picture.format == "PNG":
            picture.verify()  # checksums, which loading passes over
            picture = Image.open(io.BytesIO(data), formats=_FORMATS)
        picture.draft("RGB", (self.size, self.size))  # of a large JPEG a smaller version that is cheap to decode
        return picture


def _upright(picture: Image.Image) -> Image.Image:
    """Turned as its camera noted it, 8 bits a channel, and on white where it is transparent."""
    with contextlib.suppress(*DAMAGE):  # but for the turn, what cameras write there may be damaged, and is of no use
        picture.getexif()  # and keeps it
    picture.info.pop("exif", None)
    picture = ImageOps.exif_transpose(picture)
    if picture.mode in _DEEP_GREY:
        values, most = np.asarray(picture, dtype=np.float64), _DEEP_GREY[picture.mode]
        if not 0 <= values.min() <= values.max() <= most:
            found = f"values {values.min():g} to {values.max():g}, expected 0 to {most}"
            raise ValueError(f"{found}: save it with 8 bits a channel")
        return Image.fromarray((values * (255 / most)).clip(0, 255).round().astype(np.uint8))
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture if picture.mode in ("L", "RGB") else picture.convert("RGB")


def decoded(
    files: Sequence[Path],
    labels: Sequence[int],
    folder: Path,
    decode: Decode,
    *,
    cache_dir: str | Path | None = None,
    on_damaged: OnDamaged = "stop",
    part: str = "all",
) -> tuple[ImageArray, NDArray[np.int64]]:
    """The pictures of these files, from the cache where it has them as they are now, else decoded into it; and the
    positions of those files that are whole, int64.

    Args:
        files: lie in ``folder``.
        labels: of each.
        decode: how.
        cache_dir: where entries go; None for ``.decoded`` in the folder, or where that cannot be written and does not
            hold them, for the user's own cache.
        on_damaged: ``stop`` refuses damaged files, ``skip`` leaves them out; both name them when they are decoded.
        part: name for these files: an entry takes the place of an older one of the same part and settings.
    """
    digest, total = hashlib.blake2b(f"2 {decode} {on_damaged}".encode(), digest_size=16), 0
    for file in files:
        about = file.stat()
        total += about.st_size
        name = str(file).removeprefix(str(folder))
        digest.update(f"\0{name}\0{about.st_size}\0{about.st_mtime_ns}".encode(errors="surrogateescape"))
    place = hashlib.blake2b(str(folder.resolve()).encode(), digest_size=4).hexdigest()
    prefix = f"{folder.name}-{place}-{part}-{on_damaged}-{decode.fit}-{decode.channels}x{decode.size}px-"
    name, own = f"{prefix}{digest.hexdigest()}", folder / ".decoded"
    users = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(cache_dir or (own if (own / name).is_dir() or os.access(folder, os.W_OK) else users / "imgclf"))
    entry = cache / name
    if not entry.is_dir():
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"data.cache_dir={cache}: {error.strerror}; give a folder that can be made") from error
        with FileLock(cache / ".lock"):
            if not entry.is_dir():  # another process may have made it meanwhile
                log.info(f"decoding {len(files):,} pictures of {folder} to {decode.size} x {decode.size}: {cache}")
                worth = 1 + max(len(files) // _FILES, total // _BYTES)
                _make(entry, files, folder, decode, min(cores(), worth), on_damaged)
                for old in {*cache.glob(f"{glob.escape(prefix)}*")} - {entry}:
                    shutil.rmtree(old, ignore_errors=True)
    sums, kept = (np.load(entry / f"{name}.npy", allow_pickle=False) for name in ("sums", "kept"))
    images = np.memmap(entry / "images.bin", "u1", "r", shape=(len(kept), decode.channels, decode.size, decode.size))
    if (most := images[:: max(1, len(kept) // 256)].max()) < 32:
        log.warning(f"{folder}: no value above {most} of 255; save 12 bits, say, over the whole range of 16")
    return as_tensors(images, np.asarray(labels)[kept], sums=torch.as_tensor(sums), files=digest.hexdigest()[:16]), kept


def _make(
    entry: Path, files: Sequence[Path], folder: Path, decode: Decode, processes: int, on_damaged: OnDamaged
) -> None:
    """Decode in chunks, a few at a time, so that memory does not grow with the number of files.

    By processes: for small files most of the work is Python's own, and two threads are slower than one.
    """
    if (size := len(files) * decode.channels * decode.size**2) > (free := shutil.disk_usage(entry.parent).free):
        told = f"{entry.parent} needs {size / 2**20:,.0f} MiB for the decoded images, {free / 2**20:,.0f} MiB are free"
        raise InputError(f"{told}: make room, or give data.cache_dir or a smaller data.stored_size")
    aside = entry.parent / ".building"
    shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed
    aside.mkdir()
    damaged, kept, sums = dict[int, OSError](), list[int](), list[NDArray[np.float64]]()
    chunks: DataLoader[Any] = DataLoader(
        range(len(files)),  # type: ignore[arg-type]
        batch_size=_CHUNK,
        collate_fn=partial(_decode_all, files=files, decode=decode),
        num_workers=processes if processes > 1 else 0,
        prefetch_factor=_AHEAD if processes > 1 else None,
        worker_init_fn=leave_interrupts,
        generator=torch.Generator(),  # else it would draw from those of the run
    )
    try:
        with (aside / "images.bin").open("wb") as sink, tqdm(total=len(files), unit="image", disable=None) as bar:
            for places, pixels, chunk_sums, wrong in chunks:
                kept += [place for place in places if place not in wrong]
                damaged |= wrong
                sums.append(chunk_sums)
                sink.write(pixels.data)
                bar.update(len(places))
        _tell({files[place]: error for place, error in damaged.items()}, len(files), folder, on_damaged)
        np.save(aside / "sums.npy", np.concatenate(sums))
        np.save(aside / "kept.npy", np.array(kept, dtype=np.int64))
        aside.replace(entry)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        told = "a decoding process has died: too little memory? Or a script of yours without `if __name__ ...`?"
        raise InputError(told) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _decode_all(places: Sequence[int], files: Sequence[Path], decode: Decode) -> tuple[Any, ...]:
    """Some places, and of the files there: pixels uint8 (m, c, s, s) and sums float64 (m, 2, c) of those that are
    whole; what is wrong with the others."""
    pixels, wrong = [np.empty((0, decode.channels, decode.size, decode.size), dtype=np.uint8)], dict[int, OSError]()
    for place in places:
        try:
            pixels.append(decode(files[place])[None])
        except DAMAGE as error:
            wrong[place] = OSError(getattr(error, "errno", None), why(error))
    sums = [sums_of(torch.from_numpy(image)).numpy() for image in pixels]  # one by one: they take 8 bytes a pixel
    return places, np.concatenate(pixels), np.concatenate(sums), wrong


def _tell(damaged: dict[Path, OSError], count: int, folder: Path, on_damaged: OnDamaged) -> None:
    if not damaged:
        return
    more = f"\n  and {len(damaged) - _SHOWN:,} more" if len(damaged) > _SHOWN else ""
    shown = sorted(damaged.items(), key=lambda item: not item[1].errno)[:_SHOWN]
    told = "".join(f"\n  {file}: {error.strerror}" for file, error in shown)
    text = f"{folder}: {len(damaged):,} of {count:,} pictures cannot be read:{told}{more}"
    if any(error.errno for error in damaged.values()):  # Pillow's own have none: the system could not read the file
        raise InputError(f"{text}\nsee to the files' permissions or the disk, and run again")
    if on_damaged == "stop" or len(damaged) == count:
        raise InputError(f"{text}\nreplace them, or leave them out with data.on_damaged=skip")
    log.warning(text)
