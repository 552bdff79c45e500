"""From the archives of Kaggle's CIFAR-10 competition to the folder that :mod:`imgclf.data.kaggle` reads."""

import hashlib
import logging
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import py7zr
from filelock import FileLock
from omegaconf import DictConfig

from imgclf.data.fashion_mnist import download
from imgclf.data.folders import is_litter
from imgclf.data.kaggle import CLASSES, LABELS, SUBMISSION, chapter_split, check_prepared
from imgclf.errors import InputError, say

log = logging.getLogger(__name__)

# Where in an archive, under whatever folder, what is wanted may lie.
_WANTED = re.compile(rf"(?:.*/)?(?:(train|test)/(\d+\.png)|({LABELS}|{SUBMISSION}|train\.7z|test\.7z))")
_ORDER = ("train", "test", SUBMISSION, LABELS)  # the last makes the folder count as prepared


def prepare_kaggle(config: DictConfig) -> None:
    """What scripts/prepare_kaggle.py does; ``config`` is conf/prepare_kaggle.yaml, which tells what its keys mean.

    What is there already is kept and only checked, so a second call does nothing.
    """
    folder = Path(config.dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if not all((folder / name).exists() for name in ("train", "test", LABELS)):
                with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=folder) as stage:
                    for archive in _archives(config, folder):
                        _unpack(archive, Path(stage))
                    _place(Path(stage), folder)
            labels, ids = check_prepared(folder)
            if config.tree:
                say(f"{_tree(folder, labels, ids, config.valid_ratio, config.seed)}")
    except OSError as error:
        raise InputError(f"{error.filename or folder}: {error.strerror}; choose another dir=FOLDER") from error
    counts = ", ".join(f"{name} {list(labels.values()).count(name):,}" for name in CLASSES)
    say(f"{folder}: {len(labels):,} training images ({counts}); {len(ids):,} test images")


def _archives(config: DictConfig, folder: Path) -> Iterator[Path]:
    """What is to be unpacked: what ``archive`` names, or what lies in the folder."""
    if config.archive is not None:
        if not Path(config.archive).is_file():
            raise InputError(f"archive={config.archive} is no file: give the path of the competition's zip")
        yield Path(config.archive)
    elif config.demo:
        target = folder / config.demo_url.rpartition("/")[2]
        download(config.demo_url, target)
        if hashlib.sha1(target.read_bytes()).hexdigest() != config.demo_sha1:
            target.unlink()
            raise InputError(f"{target} was damaged or another file, and is deleted: run again")
        yield target
    else:
        yield from (folder / name for name in ("cifar-10.zip", "train.7z", "test.7z") if (folder / name).exists())


def _unpack(archive: Path, stage: Path) -> None:
    """Unpack what is wanted, out of archives in the archive too, under names of our own."""
    log.info(f"unpacking {archive}")
    with tempfile.TemporaryDirectory(dir=stage.parent) as inner:
        try:
            if archive.suffix == ".7z":
                with py7zr.SevenZipFile(archive) as packed:
                    packed.extract(inner, targets={name for name in packed.getnames() if _target(name)})
            else:
                with zipfile.ZipFile(archive) as members:
                    members.extractall(inner, [name for name in members.namelist() if _target(name)])
        except OSError:
            raise
        except Exception as error:  # the readers meet damage with a dozen unrelated exception types
            why = str(error) or type(error).__name__
            raise InputError(f"{archive} is damaged or no archive ({why}): download it again") from error
        for file in Path(inner).rglob("*"):
            target = _target(file.relative_to(inner).as_posix())
            if target is not None and file.is_file() and not file.is_symlink():
                if target.endswith(".7z"):
                    _unpack(file, stage)
                else:
                    (stage / target).parent.mkdir(exist_ok=True)
                    file.replace(stage / target)


def _target(name: str) -> str | None:
    """Where a member goes; None for litter and what is not wanted."""
    name = name.replace("\\", "/")  # as some programs for Windows write them
    found = _WANTED.fullmatch(name)
    if found is None or any(is_litter(part) for part in name.split("/") if part != "."):
        return None
    return f"{found[1]}/{found[2]}" if found[1] else found[3]


def _place(stage: Path, folder: Path) -> None:
    """Give what is whole its name; the images only when they fit the lists."""
    new = [name for name in _ORDER if (stage / name).exists() and not (folder / name).exists()]
    for name in _ORDER:  # what lies in the folder already counts, and is put beside the rest to be compared
        if (folder / name).exists() and not (stage / name).exists():
            (stage / name).symlink_to((folder / name).absolute())
    check_prepared(stage)
    for name in new:
        (stage / name).replace(folder / name)


def _tree(folder: Path, labels: dict[int, str], ids: list[int], valid_ratio: float, seed: int) -> Path:
    """``train_valid_test/{train,valid,train_valid}/CLASS/`` and ``test/unknown/``, for torchvision's ImageFolder.

    Of hard links, which take no room; copies where the disk knows none.
    """
    held_out = chapter_split(np.array([CLASSES.index(n) for n in labels.values()]), valid_ratio, seed)[1]
    valid = {list(labels)[place] for place in held_out}
    tree, aside = folder / "train_valid_test", folder / ".train_valid_test"
    shutil.rmtree(aside, ignore_errors=True)
    links = [(f"test/{number}.png", "test/unknown") for number in ids]
    for number, label in labels.items():
        parts = "train_valid", "valid" if number in valid else "train"
        links += [(f"train/{number}.png", f"{part}/{label}") for part in parts]
    for source, target in links:
        (aside / target).mkdir(parents=True, exist_ok=True)
        try:
            os.link(folder / source, aside / target / Path(source).name)
        except OSError:
            shutil.copy2(folder / source, aside / target)
    shutil.rmtree(tree, ignore_errors=True)
    aside.replace(tree)
    return tree
