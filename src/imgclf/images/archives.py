"""Unpack .zip and .7z archives that come from elsewhere, without trusting what they say.

Everything is looked at in the archive's own table before a byte is written: names that lead out of the
folder, links, duplicates, members that do not belong there, sizes beyond a bound, room on the disk. The data
then streams to disk, member by member, and every member's checksum is compared.
"""

import errno
import os
import re
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import py7zr
from py7zr.io import Py7zIO, WriterFactory
from tqdm import tqdm

from imgclf.errors import InputError

MIB = 2**20
GIB = 2**30
_BLOCK = 4096  # what a small file takes on disk, in bytes


@dataclass(frozen=True)
class Limits:
    """Bounds on what an archive may unpack to: bytes of one member, bytes of all, number of members."""

    member_bytes: int
    total_bytes: int
    members: int


@dataclass(frozen=True)
class Member:
    """One line of an archive's table. `is_regular` is false for links, sockets and other special files."""

    name: str
    size: int
    is_folder: bool
    is_regular: bool


def check_members(archive: Path, members: Sequence[Member], allowed: re.Pattern[str], limits: Limits) -> None:
    """Refuse an archive whose table holds anything but regular files named like `allowed`, within `limits`.

    Raises InputError that names the archive and the first offending members.
    """
    files = [member for member in members if not member.is_folder]
    problems = [
        ("leads out of the folder", [m.name for m in members if _leads_out(m.name)]),
        ("is a link or a special file", [m.name for m in files if not m.is_regular]),
        ("is not expected in it", [m.name for m in files if not allowed.fullmatch(m.name)]),
        (
            f"is larger than {limits.member_bytes:,} bytes",
            [m.name for m in files if m.size > limits.member_bytes],
        ),
        ("is there twice", _duplicates([m.name for m in files])),
    ]
    for problem, names in problems:
        if names:
            more = f" (and {len(names) - 3:,} more)" if len(names) > 3 else ""
            raise InputError(
                f"{archive}: member {', '.join(map(repr, names[:3]))}{more} {problem}; nothing was unpacked. "
                "Is it the right archive? Download it again from its source."
            )
    total = sum(member.size for member in files)
    if len(members) > limits.members or total > limits.total_bytes:
        raise InputError(
            f"{archive} would unpack to {len(members):,} members and {total:,} bytes; at most "
            f"{limits.members:,} members and {limits.total_bytes:,} bytes are expected. Nothing was "
            "unpacked; download it again from its source."
        )


def extract_7z(archive: Path, folder: Path, *, allowed: re.Pattern[str], limits: Limits) -> int:
    """Unpack the files of a .7z archive flat into `folder` (made if missing); returns their number.

    Solid archives are decompressed once, in order, each member going to disk as it comes. Raises InputError
    for an archive that is no 7z file, is cut short or damaged, or that `check_members` refuses.
    """
    with _readable(archive), py7zr.SevenZipFile(archive) as opened:
        members = [Member(i.filename, i.uncompressed, i.is_directory, i.is_file) for i in opened.list()]
        check_members(archive, members, allowed, limits)
        files = [member for member in members if not member.is_folder]
        require_room(folder, [member.size for member in files])
        folder.mkdir(parents=True, exist_ok=True)
        with tqdm(total=len(files), desc=f"unpacking {archive.name}", unit="file", disable=None) as bar:
            opened.extract(path=folder, factory=_FlatFolder(folder, bar))
    # An empty member is never handed to the factory's writer, so count what is really there.
    missing = [m.name for m in files if not (folder / PurePosixPath(m.name).name).is_file()]
    if missing:
        raise InputError(f"{archive}: {missing[0]!r} came out empty; download the archive again from its source.")
    return len(files)


def zip_members(archive: Path) -> list[Member]:
    """The table of a .zip archive; raises InputError if it is none, is cut short or is encrypted."""
    with _readable(archive), zipfile.ZipFile(archive) as opened:
        encrypted = [info.filename for info in opened.infolist() if info.flag_bits & 1]
        if encrypted:
            raise InputError(f"{archive}: {encrypted[0]!r} is encrypted; download the archive again from its source.")
        return [
            Member(info.filename, info.file_size, info.is_dir(), _is_regular(info.external_attr >> 16))
            for info in opened.infolist()
        ]


def extract_zip(archive: Path, targets: dict[str, Path]) -> None:
    """Unpack the members named in `targets` to the paths given there.

    Each is written aside and renamed once its checksum has been found right. Raises InputError as
    `zip_members`, and for damaged data; `check_members` is the caller's to call first.
    """
    with _readable(archive), zipfile.ZipFile(archive) as opened:
        require_room(next(iter(targets.values())).parent, [opened.getinfo(name).file_size for name in targets])
        with tqdm(total=len(targets), desc=f"unpacking {archive.name}", unit="file", disable=None) as bar:
            for name, target in targets.items():
                target.parent.mkdir(parents=True, exist_ok=True)
                aside = target.with_name(f"{target.name}.part")
                with opened.open(name) as source, aside.open("wb") as sink:
                    shutil.copyfileobj(source, sink, MIB)
                aside.replace(target)
                bar.update()


def require_room(folder: Path, sizes: Sequence[int]) -> None:
    """Raise InputError unless the disk under `folder` has room for files of these sizes in bytes."""
    needed = sum(-(-size // _BLOCK) * _BLOCK for size in sizes)
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    places = _free_places(existing)
    if len(sizes) > places:
        raise InputError(
            f"{folder} needs {len(sizes):,} files, but its file system has inodes for {places:,} more; "
            "choose a folder on another disk."
        )
    if needed > free:
        raise InputError(
            f"{folder} needs {needed / MIB:,.0f} MiB, but its disk has {free / MIB:,.0f} MiB free; "
            "make room or choose another folder."
        )


def _free_places(folder: Path) -> float:
    """How many more files fit; infinite where the file system sets no number."""
    if not hasattr(os, "statvfs"):
        return float("inf")
    status = os.statvfs(folder)
    return status.f_favail if status.f_files else float("inf")


class _FlatFile(Py7zIO):
    """Where py7zr writes one member; opened anew for each block, as old versions do not say when it ends."""

    def __init__(self, path: Path, done: Callable[[], object]) -> None:
        self._path, self._done, self._size = path, done, 0

    def write(self, s: bytes | bytearray) -> int:
        with self._path.open("ab" if self._size else "wb") as sink:
            sink.write(s)
        if not self._size:
            self._done()
        self._size += len(s)
        return len(s)

    def read(self, size: int | None = None) -> bytes:
        raise NotImplementedError("members are only written")

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0  # py7zr rewinds a member that is complete

    def flush(self) -> None:
        pass

    def size(self) -> int:
        return self._size


class _FlatFolder(WriterFactory):
    """Gives py7zr a file in `folder` for each member, under the last part of its name."""

    def __init__(self, folder: Path, bar: "tqdm[None]") -> None:
        self._folder, self._bar = folder, bar

    def create(self, filename: str) -> Py7zIO:
        return _FlatFile(self._folder / PurePosixPath(filename).name, self._bar.update)


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    """Turn whatever goes wrong in an archive into one InputError; errors of the disk stay what they are."""
    if not archive.is_file():
        raise InputError(f"{archive} is not a file; give the path of the archive.")
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # the readers meet damage with a dozen unrelated exception types
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(f"the disk became full while {archive} was unpacked; make room and run again.") from error
        # EINVAL: zipfile has gone back to before the beginning of a file that lacks its first bytes.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        kind = "7z" if archive.suffix == ".7z" else "zip"
        detail = str(error) or type(error).__name__
        raise InputError(
            f"{archive} is no {kind} archive, or is cut short or damaged ({detail}); download it again from its source."
        ) from error


def _leads_out(name: str) -> bool:
    windows = PureWindowsPath(name)  # understands both slashes, and drive letters
    return bool(windows.anchor) or ".." in windows.parts or "\0" in name


def _is_regular(mode: int) -> bool:
    return stat.S_IFMT(mode) in (0, stat.S_IFREG)  # 0: written by a system that stores no modes


def _duplicates(names: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
