"""The chapter's folder tree, as torchvision's ImageFolder reads it, made of hard links: it takes no room.

train_valid_test/{train,valid,train_valid}/<class>/<id>.png
train_valid_test/test/unknown/<id>.png
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from imgclf.errors import InputError
from imgclf.images.kaggle import CLASSES, read_labels, submission_ids
from imgclf.images.locking import only_one
from imgclf.images.prepare import check_prepared
from imgclf.images.split import split_by_class

log = logging.getLogger(__name__)

TREE = "train_valid_test"
_RECORD = "made_from.json"


def make_tree(folder: Path, valid_ratio: float, seed: int, *, copy: bool = False) -> Path:
    """Make `folder`/train_valid_test from a prepared folder; returns its path.

    The split is that of `split_by_class`, seeded with `seed`. A tree made with the same arguments from the
    same images is left as it is, another of ours is made again. It appears only when complete. `copy` copies
    where a disk knows no hard links. Raises InputError if the folder is not prepared, if links are
    impossible, or if a folder of that name is not ours.
    """
    check_prepared(folder)
    tree = folder / TREE
    with only_one(folder):
        record = _record(folder, valid_ratio, seed, copy)
        if tree.exists():
            made_from = _read_record(tree)
            if made_from == record and _count(tree) == record["files"]:
                return tree
            changed = [key for key in record if made_from.get(key) != record[key]] or ["its files"]
            log.info("%s is made again, as this differs: %s", tree, ", ".join(changed))
        aside = folder / f".{TREE}"
        shutil.rmtree(aside, ignore_errors=True)  # what a killed run left
        try:
            _fill(folder, aside, valid_ratio, seed, copy)
            (aside / _RECORD).write_text(json.dumps(record, indent=2) + "\n")
            if tree.exists():
                shutil.rmtree(tree)
            aside.replace(tree)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return tree


def _pairs(folder: Path, valid_ratio: float, seed: int) -> Iterator[tuple[Path, str]]:
    """Each image to place, with the place in the tree."""
    ids, labels = read_labels(folder / "trainLabels.csv")
    train, valid = split_by_class(labels, valid_ratio, np.random.default_rng(seed))
    for part, positions in (("train", train), ("valid", valid), ("train_valid", np.arange(len(ids)))):
        for position in positions.tolist():
            name = f"{ids[position]}.png"
            yield folder / "train" / name, f"{part}/{CLASSES[labels[position]]}/{name}"
    for number in submission_ids(folder).tolist():
        yield folder / "test" / f"{number}.png", f"test/unknown/{number}.png"


def _fill(folder: Path, aside: Path, valid_ratio: float, seed: int, copy: bool) -> None:
    made: set[str] = set()
    for source, place in tqdm(_pairs(folder, valid_ratio, seed), desc=TREE, unit="file", disable=None):
        target = os.path.join(aside, place)  # noqa: PTH118 (a Path for each file takes longer than its link)
        parent = place.rpartition("/")[0]
        if parent not in made:
            (aside / parent).mkdir(parents=True)
            made.add(parent)
        try:
            if copy:
                shutil.copyfile(source, target)
            else:
                os.link(source, target)
        except OSError as error:
            raise InputError(
                f"{source} cannot be {'copied' if copy else 'linked'} to {target}: {error.strerror}. "
                + (
                    "Is the disk full?"
                    if copy
                    else "Put the data on one disk that knows hard links, or give copy=true."
                )
            ) from error


def _record(folder: Path, valid_ratio: float, seed: int, copy: bool) -> dict[str, object]:
    """What the tree is made from; two trees with the same record are the same."""
    ids, labels = read_labels(folder / "trainLabels.csv")
    test_ids = submission_ids(folder)
    images = hashlib.sha256(b"".join(array.astype("<i8").tobytes() for array in (ids, labels, test_ids)))
    inodes = [(folder / part).stat().st_ino for part in ("train", "test")]  # unpacked anew: other files
    return {
        "valid_ratio": valid_ratio,
        "seed": seed,
        "copy": copy,
        "lists": images.hexdigest(),
        "folders": inodes,
        "files": 2 * len(ids) + len(test_ids),
    }


def _read_record(tree: Path) -> dict[str, object]:
    try:
        record = json.loads((tree / _RECORD).read_text())
    except (OSError, ValueError):
        record = None
    if not isinstance(record, dict):
        raise InputError(f"{tree} was not made by this program (no {_RECORD}); rename or remove it and run again.")
    return record


def _count(tree: Path) -> int:
    return sum(len(files) for _, folders, files in os.walk(tree) if not folders)
