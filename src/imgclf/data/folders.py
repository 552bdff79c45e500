"""What lies in folders of pictures: class folders, picture files, and the litter that systems leave there."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from imgclf.errors import InputError

SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff"}
_LITTER = re.compile(r"\..*|thumbs\.db|desktop\.ini|__macosx|@eadir", re.IGNORECASE)
_VALIDATION = ("valid", "val", "validation")


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is what macOS, Windows, a NAS or a tool has left: ``.DS_Store``,
    ``._1.png``, ``Thumbs.db``, ``__MACOSX``."""
    return _LITTER.fullmatch(name) is not None


def pictures(folder: Path) -> tuple[list[Path], list[Path]]:
    """All picture files of a folder and its folders, by path, and what else lies there but litter."""
    found: list[Path] = []
    others: list[Path] = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not is_litter(name)]
        for name in names:
            if not is_litter(name):
                file = Path(place, name)
                (found if file.suffix.lower() in SUFFIXES else others).append(file)
    return sorted(found), sorted(others)


def part_folder(folder: Path, part: str) -> Path | None:
    """The folder of ``train``, ``valid`` (also ``val``, ``validation``) or ``test``; None where there is none."""
    names = _VALIDATION if part == "valid" else (part,)
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def class_folders(folder: str | Path) -> list[str]:
    """The classes of a folder of pictures: the names of the folders in its ``train/``, or else of its own, sorted.

    Raises:
        InputError: there is no such folder, or it has fewer than two classes.
    """
    source = part_folder(Path(folder), "train") or Path(folder)
    if not source.is_dir():
        raise InputError(f"there is no folder {source}: give one that holds train/CLASS/PICTURE or CLASS/PICTURE")
    names = sorted(e.name for e in os.scandir(source) if e.is_dir() and not is_litter(e.name))
    if len(names) < 2:
        raise InputError(
            f"{source} holds {len(names)} folder(s), of which each would be a class: at least two are needed, "
            "train/CLASS/PICTURE or CLASS/PICTURE"
        )
    return names


def list_pictures(given: str) -> list[Path]:
    """The picture files that ``images=`` names: one file, a folder with all below it, or a pattern (``a/**/*.jpg``).

    Raises:
        InputError: there is nothing, or nothing of this kind.
    """
    kinds = ", ".join(sorted(SUFFIXES))
    path = Path(given)
    if path.is_file():
        files: Iterable[Path] = [path]
    elif path.is_dir():
        files = pictures(path)[0]
    else:
        anchor = Path(path.anchor)
        pattern = str(path.relative_to(anchor)) if path.anchor else given
        files = sorted(f for f in anchor.glob(pattern) if f.is_file() and not is_litter(f.name)) if "*" in given else []
        if not files:
            raise InputError(f"images={given}: there is no such folder or file; give a folder or files of {kinds}")
    found = [file for file in files if file.suffix.lower() in SUFFIXES]
    if not found:
        raise InputError(f"images={given} holds no picture: give a folder or files of {kinds}")
    return found


def labels_of(files: Sequence[Path], folder: Path, class_names: Sequence[str]) -> list[int]:
    """The class of each file, by the first folder below ``folder`` that it lies in.

    Raises:
        InputError: a folder is none of the classes.
    """
    place = {name: index for index, name in enumerate(class_names)}
    names = [str(file)[len(str(folder)) + 1 :].partition(os.sep)[0] for file in files]
    unknown = sorted({name for name in names if name not in place})
    if unknown:
        raise InputError(
            f"{folder} has the folder(s) {', '.join(unknown[:5])}, which are none of the classes "
            f"{', '.join(class_names)}: rename them, or move them away"
        )
    return [place[name] for name in names]
