"""Kaggle's CIFAR-10 competition, and others of its form: a folder of pictures and two lists.

Prepared, the folder holds ``train/<id>.png``, ``test/<id>.png``, ``trainLabels.csv`` (``id,label``) and, but for the
chapter's small sample, ``sampleSubmission.csv`` (``id,label``, every label the same). https://www.kaggle.com/c/cifar-10
"""

import csv
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from imgclf.data.batches import ImageArray
from imgclf.data.decode import Decode, decoded
from imgclf.data.folders import is_litter
from imgclf.data.module import ImageData
from imgclf.data.split import Positions
from imgclf.errors import InputError, hint
from imgclf.ranges import AtLeast1

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LABELS, SUBMISSION = "trainLabels.csv", "sampleSubmission.csv"


class KaggleCIFAR10(ImageData):
    """The folder that scripts/prepare_kaggle.py makes. The pictures are decoded once, see :mod:`imgclf.data.decode`.

    Validation images are chosen by the chapter's rule: each class gives as many as ``val_fraction`` of the smallest
    class, at least one. The test images have no labels; scripts/predict.py classifies them.

    Args:
        dir: has ``train/``, ``test/``, ``trainLabels.csv``, ``sampleSubmission.csv``.
        stored_size: side in pixels to which pictures are decoded.
        cache_dir: where the decoded pictures go; None for ``dir/.decoded``, or where that is read-only the user's.
        options: those of :class:`ImageData`.
    """

    class_names = CLASSES

    def __init__(self, dir: str, stored_size: AtLeast1, cache_dir: str | None, **options: Any) -> None:
        super().__init__(**options)
        self.dir = Path(dir)
        self.decode = Decode(1 if self.in_channels == 1 else 3, stored_size)
        self.cache_dir = cache_dir
        self._lists: tuple[dict[int, str], list[int]] | None = None
        self._parts: dict[str, ImageArray] = {}

    def prepare_data(self) -> None:
        """Check the folder, and decode what the stage needs unless it has been."""
        self._images("test" if self.trainer is not None and self.trainer.predicting else "train")

    def read_train(self) -> ImageArray:
        return self._images("train")

    def read_unlabelled(self) -> ImageArray:
        """The test images in the order of the submission."""
        return self._images("test")

    def lists(self) -> tuple[dict[int, str], list[int]]:
        """Label by id of the training images, in rising order; ids to submit, in their order."""
        self._lists = self._lists or check_prepared(self.dir)
        return self._lists

    def _images(self, part: str) -> ImageArray:
        if part not in self._parts:
            names, ids = self.lists()
            listed = names if part == "train" else dict.fromkeys(ids, CLASSES[0])
            if not listed:
                raise InputError(f"{self.dir / part} holds no picture: unpack the archive again")
            files = [self.dir / part / f"{number}.png" for number in listed]
            labels = [CLASSES.index(label) for label in listed.values()]
            self._parts[part], _ = decoded(files, labels, self.dir, self.decode, part=part, cache_dir=self.cache_dir)
        return self._parts[part]

    def split(self, labels: Positions) -> tuple[Positions, Positions]:
        return chapter_split(labels, self.val_fraction, self.seed) if self.folds is None else self.held_out(labels)


def chapter_split(labels: Positions, ratio: float, seed: int) -> tuple[Positions, Positions]:
    """Positions of the images that stay and of those held out, each in rising order, for labels int64 (n,): each class
    gives ``ratio`` of the smallest, at least one (Zhang et al., Dive into Deep Learning, section 14.13)."""
    smallest = int(np.bincount(labels)[np.unique(labels)].min())
    share = max(int(smallest * ratio), 1)
    if share >= smallest:
        told = f"a class has {smallest} image(s), of which {share} would be held out"
        raise InputError(f"{told}: add some, or hold out fewer")
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(np.flatnonzero(labels == label), share, replace=False) for label in np.unique(labels)]
    held_out = np.sort(np.concatenate(chosen)).astype(np.int64)
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out


def check_prepared(folder: Path) -> tuple[dict[int, str], list[int]]:
    """Compare the pictures of a prepared folder with its lists.

    Returns:
        Label by id of the training images, in rising order of the ids; ids to submit, in their order: those of the
        list, or where there is none those of ``test/``.

    Raises:
        InputError: something is missing, damaged or does not fit.
    """
    if lacking := [name for name in ("train", "test", LABELS) if not (folder / name).exists()]:
        told = f"{folder} lacks {lacking[0]}: download the zip (kaggle competitions download -c cifar-10), then"
        place = shlex.quote(f"dir={folder}")
        raise InputError(f"{told} uv run scripts/prepare_kaggle.py archive=cifar-10.zip {place}; or demo=true")
    labels = dict(sorted(_read_list(folder / LABELS).items()))
    if unknown := {*labels.values()} - {*CLASSES}:
        label = min(unknown)
        raise InputError(f"{folder / LABELS}: unknown class {label!r}. {hint(label, CLASSES)}")
    pictures = {part: _ids(folder / part) for part in ("train", "test")}
    ids = list(_read_list(folder / SUBMISSION)) if (folder / SUBMISSION).exists() else sorted(pictures["test"])
    for part, listed, name in (("train", {*labels}, LABELS), ("test", {*ids}, SUBMISSION)):
        if numbers := listed ^ pictures[part]:
            first = min(listed - pictures[part] or numbers)
            found = f"{folder / part} and {name} differ in {len(numbers):,} pictures, such as {first}.png"
            raise InputError(f"{found}; unpack the archive again")
    return labels, ids


def _read_list(file: Path) -> dict[int, str]:
    """The label of each id, in the order of the lines ``id,label``; blank lines, too, are in everybody's files."""
    found: dict[int, str] = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            for line, row in enumerate(csv.reader(stream, strict=True), 1):
                if row and (line > 1 or row != ["id", "label"]):
                    if len(row) != 2 or not row[0].isdecimal() or int(row[0]) in found:
                        told = f"expected id,label with each id once, got {','.join(row)!r}"
                        raise InputError(f"{file}, line {line}: {told}")
                    found[int(row[0])] = row[1]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} cannot be read ({error}): unpack the archive again") from error
    if not found:
        raise InputError(f"{file} lists no images: unpack the archive again")
    return found


def _ids(folder: Path) -> set[int]:
    names = [file.name for file in folder.iterdir() if not is_litter(file.name)]
    if strays := [name for name in names if not (name.endswith(".png") and name[:-4].isdecimal())]:
        raise InputError(f"{folder} holds {strays[0]}, which is no picture <id>.png: move it elsewhere")
    return {int(name[:-4]) for name in names}
