"""What lies in folders of pictures: class folders, picture files, and the litter that systems leave there."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from imgclf.errors import InputError

log = logging.getLogger(__name__)
SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff"}
_LITTER = re.compile(r"(?i)\..*|thumbs\.db|desktop\.ini|__macosx|@eadir|lost\+found|system volume information")


def is_litter(name: str) -> bool:
    """Whether macOS, Windows, a NAS or a tool leaves files or folders of this name (``.DS_Store``, ``Thumbs.db``)."""
    return _LITTER.fullmatch(name) is not None


def pictures(folder: Path) -> list[Path]:
    """All picture files of a folder and its folders, by path; what else lies there but litter is told.

    Links to folders are followed, but for those to a folder above, which would give the same pictures again and again.
    """
    found: list[Path] = []
    others: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        above = [Path(place).resolve(), *(parent.resolve() for parent in Path(place).parents)]
        targets = {name: Path(place, name).resolve() for name in folders}
        back = [name for name, target in targets.items() if any(one.is_relative_to(target) for one in above)]
        folders[:] = [name for name in folders if not is_litter(name) and name not in back]
        names += back
        for file in (Path(place, name) for name in names if not is_litter(name)):
            (found if file.suffix.lower() in SUFFIXES and file.is_file() else others).append(file)
    if others:
        log.warning(f"{folder}: {len(others):,} file(s) that are no pictures are left out, {min(others)} first")
    return sorted(found)


def _refuse(error: OSError) -> None:
    raise InputError(f"{error.filename}: {error.strerror}; give yourself access, or its pictures would be left out")


def part_folder(folder: Path, part: str) -> Path | None:
    """The folder of ``train``, ``valid`` (also ``val``, ``validation``) or ``test`` (``testing``), or in capitals;
    None where there is none."""
    names = {"valid": ("valid", "val", "validation"), "test": ("test", "testing")}.get(part, (part,))
    spelt = (n for name in names for n in (name, name.title(), name.upper()))
    return next((folder / n for n in spelt if (folder / n).is_dir()), None)


def folder_names(folder: Path) -> list[str]:
    """The names of the folders in one, sorted."""
    return sorted(e.name for e in os.scandir(folder) if e.is_dir() and not is_litter(e.name))


def class_folders(folder: str | Path) -> list[str]:
    """The classes of a folder of pictures: the names of the folders in its ``train/``, or else of its own, sorted."""
    source = part_folder(Path(folder), "train") or Path(folder)
    names = folder_names(source) if source.is_dir() else []
    trained, held_out = {"train", "training"}, {"test", "testing", "valid", "val", "validation"}
    words = {name: {*re.split(r"[\W_]+", name.lower())} for name in names}  # also of seg_train, training_set
    part = [name for name in names if {name.lower()} & (trained | held_out)]
    of_train = [words[name] - trained for name in names if words[name] & trained]
    part += [name for name in names if words[name] & held_out and words[name] - held_out in of_train]
    if source == Path(folder) and part:
        told = f"{folder} has {part[0]}/, but no train/"
        raise InputError(f"data.dir={told}: move the classes into train/, or call it otherwise if it is one")
    if len(names) < 2:
        found = f"{source} holds {len(names)} folder(s)" if source.is_dir() else "there is no such folder"
        raise InputError(f"data.dir={folder}: {found}; give train/CLASS/... or CLASS/..., at least two classes")
    return names


def labels_of(files: Sequence[Path], folder: Path, class_names: Sequence[str]) -> list[int]:
    """The class of each file, by the first folder below ``folder`` that it lies in."""
    place = {name: index for index, name in enumerate(class_names)}
    if loose := [file for file in files if file.parent == folder]:
        told = f"{folder} has {len(loose)} picture(s) in no class folder, such as {loose[0].name}"
        raise InputError(f"{told}: move them into one, or away; predict.py images= takes those without a class")
    names = [file.relative_to(folder).parts[0] for file in files]
    if unknown := sorted({*names} - {*place}):
        told = f"{folder} has folders that are none of the classes {', '.join(class_names)}: {', '.join(unknown[:5])}"
        raise InputError(f"{told}; rename them, or move them away")
    return [place[name] for name in names]


def list_pictures(given: str) -> list[Path]:
    """The picture files that ``images=`` names: one file, a folder with all below it, or a pattern (``a/**/*.jpg``)."""
    path = Path(given)
    if path.is_dir():
        files = pictures(path)
    elif path.exists() or not any(letter in given for letter in "*?["):
        files = [path] if path.is_file() else []
    else:
        anchor = Path(path.anchor)
        try:
            files = sorted(anchor.glob(str(path.relative_to(anchor))))
        except ValueError as error:  # of **.jpg
            raise InputError(f"images={given}: {error}; write a/**/*.jpg") from error
    files = [f for f in files if f.suffix.lower() in SUFFIXES and f.is_file() and not is_litter(f.name)]
    if not files:
        raise InputError(f"images={given}: there is no picture; give a folder, or files {', '.join(sorted(SUFFIXES))}")
    return files
