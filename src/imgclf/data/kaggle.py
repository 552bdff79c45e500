"""Kaggle's CIFAR-10 competition, and others of its form: a folder of pictures and two lists.

Prepared, the folder holds ``train/<id>.png``, ``test/<id>.png``, ``trainLabels.csv`` (``id,label``) and, but for the
chapter's small sample, ``sampleSubmission.csv`` (``id,label``, every label the same). https://www.kaggle.com/c/cifar-10
"""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclf.data.batches import ImageArray
from imgclf.data.cache import Decoded, decoded
from imgclf.data.decode import Decode
from imgclf.data.folders import is_litter
from imgclf.data.module import ImageData, as_tensors
from imgclf.data.split import chapter_split
from imgclf.errors import InputError, nearest

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
LABELS, SUBMISSION = "trainLabels.csv", "sampleSubmission.csv"


class KaggleCIFAR10(ImageData):
    """The folder that scripts/prepare_kaggle.py makes. The pictures are decoded once, see :mod:`imgclf.data.cache`.

    Validation images are chosen by the chapter's rule: each class gives as many as ``val_fraction`` of the smallest
    class, at least one. The test images have no labels; scripts/predict.py classifies them.

    Args:
        dir: has ``train/``, ``test/``, ``trainLabels.csv``, ``sampleSubmission.csv``.
        stored_size: side in pixels to which pictures are decoded.
        cache_dir: where the decoded pictures go; None for ``.decoded`` in ``dir``.
        decode_workers: processes that decode; None for one a core.
        options: those of :class:`ImageData`.
    """

    class_names = CLASSES
    has_test_labels = False

    def __init__(
        self, dir: str, stored_size: int, cache_dir: str | None, decode_workers: int | None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.dir = Path(dir)
        self.decode = Decode(1 if self.in_channels == 1 else 3, stored_size)
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.decode_workers = decode_workers
        self._decoded: dict[str, Decoded] = {}
        self._lists: tuple[dict[int, str], list[int]] | None = None

    def prepare_data(self) -> None:
        """Check the folder, and decode what the stage needs unless it has been."""
        self._lists = check_prepared(self.dir)
        self._images("unlabelled" if self.trainer is not None and self.trainer.predicting else "train")

    def read_train(self) -> ImageArray:
        labels = [CLASSES.index(label) for label in self.lists()[0].values()]
        return as_tensors(self._images("train").images, np.array(labels, dtype=np.int64))

    def read_unlabelled(self) -> ImageArray:
        """The test images in the order of the submission."""
        images = self._images("unlabelled").images
        return as_tensors(images, np.zeros(len(images), dtype=np.int64))

    def lists(self) -> tuple[dict[int, str], list[int]]:
        """Label by id of the training images, in rising order; ids to submit, in their order."""
        self._lists = self._lists or check_prepared(self.dir)
        return self._lists

    def split(self, labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return chapter_split(labels, self.val_fraction, self.seed)

    def fingerprint(self, part: str, images: ImageArray) -> dict[str, Any]:
        """As for all data, and ``files``: a digest of every file's name, size and time of change."""
        return super().fingerprint(part, images) | {"files": self._images(part).key[:16]}

    def _images(self, part: str) -> Decoded:
        if part not in self._decoded:
            folder, ids = (
                (self.dir / "train", list(self.lists()[0]))
                if part == "train"
                else (
                    self.dir / "test",
                    self.lists()[1],
                )
            )
            self._decoded[part] = decoded(
                [folder / f"{number}.png" for number in ids],
                folder,
                self.decode,
                cache_dir=self.cache_dir or self.dir / ".decoded",
                workers=self.decode_workers,
            )
        return self._decoded[part]


def check_prepared(folder: Path) -> tuple[dict[int, str], list[int]]:
    """Compare the pictures of a prepared folder with its lists.

    Returns:
        Label by id of the training images, in rising order of the ids; ids to submit, in their order: those of the
        list, or where there is none those of ``test/``.

    Raises:
        InputError: something is missing, damaged or does not fit.
    """
    for name in ("train", "test", LABELS):
        if not (folder / name).exists():
            raise InputError(
                f"{folder} lacks {name}: download the competition's zip (kaggle competitions download -c cifar-10), "
                f"then uv run scripts/prepare_kaggle.py archive=cifar-10.zip dir={folder}; or demo=true for a sample"
            )
    labels = dict(sorted(read_list(folder / LABELS)))
    for label in dict.fromkeys(labels.values()):
        if label not in CLASSES:
            raise InputError(f"{folder / LABELS}: unknown class {label!r}; did you mean {nearest(label, CLASSES)}?")
    has_list = (folder / SUBMISSION).exists()
    ids = [number for number, _ in read_list(folder / SUBMISSION)] if has_list else sorted(_ids(folder / "test"))
    for part, listed, name in (("train", set(labels), LABELS), ("test", set(ids), SUBMISSION)):
        found = _ids(folder / part)
        for some, what in (
            (listed - found, f"lacks pictures listed in {name}"),
            (found - listed, f"has some not in {name}"),
        ):
            if some:
                shown = ", ".join(f"{number}.png" for number in sorted(some)[:3])
                raise InputError(f"{folder / part} {what}: {len(some):,}, {shown} first; unpack the archive again")
    return labels, ids


def read_list(file: Path) -> Iterator[tuple[int, str]]:
    """The lines ``id,label`` of a list behind its header.

    Raises:
        InputError: naming the line, where one is of another form or an id comes twice.
    """
    seen: set[int] = set()
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            for line, row in enumerate(csv.reader(stream, strict=True), 1):
                if not row or (line == 1 and row == ["id", "label"]):
                    continue  # blank lines, too, are in everybody's files
                if len(row) != 2 or not row[0].isdecimal() or int(row[0]) in seen:
                    raise InputError(f"{file}, line {line}: expected id,label with each id once, got {','.join(row)!r}")
                seen.add(int(row[0]))
                yield int(row[0]), row[1]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{file} cannot be read ({error}): unpack the archive again") from error
    if not seen:
        raise InputError(f"{file} lists no images: unpack the archive again")


def submission(ids: Sequence[int], labels: Sequence[int], class_names: Sequence[str]) -> str:
    """submission.csv: header ``id,label``, then a line an id, in their order.

    Args:
        ids: m of them.
        labels: as many positions in ``class_names``.
        class_names: of each class.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "label"])
    writer.writerows((number, class_names[label]) for number, label in zip(ids, labels, strict=True))
    return text.getvalue()


def _ids(folder: Path) -> set[int]:
    names = [file.name for file in folder.iterdir() if not is_litter(file.name)]
    strays = [name for name in names if not (name.endswith(".png") and name[:-4].isdecimal())]
    if strays:
        raise InputError(f"{folder} holds {strays[0]}, which is no picture <id>.png: move it elsewhere")
    return {int(name[:-4]) for name in names}
