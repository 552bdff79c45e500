"""The files of Kaggle's CIFAR-10 competition: labels, ids to submit, and whether images fit the lists.

Unpacked, the competition is `train/<id>.png`, `test/<id>.png`, `trainLabels.csv` (`id,label`) and
`sampleSubmission.csv` (`id,label`, every label the same). https://www.kaggle.com/c/cifar-10
"""

import csv
import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgclf.errors import InputError
from imgclf.images.png_folder import list_png_folder

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HEADER = ["id", "label"]
_LARGEST_ID = 2**63 - 1

Int64Array = NDArray[np.int64]


def read_labels(csv_file: Path, classes: Sequence[str] = CLASSES) -> tuple[Int64Array, Int64Array]:
    """Read `trainLabels.csv`: ids, ascending, and labels as indices into `classes`; both int64 (n,).

    Raises InputError that names the line for a wrong header, an id that is no positive number or comes twice,
    an unknown class, a line of another shape, or a file without any line.
    """
    index = {name: position for position, name in enumerate(classes)}
    ids: list[int] = []
    labels: list[int] = []
    for line, number, label in _rows(csv_file):
        if label not in index:
            near = difflib.get_close_matches(label, classes, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise InputError(f"{csv_file}, line {line}: unknown class {label!r}; {hint}known: {', '.join(classes)}.")
        ids.append(number)
        labels.append(index[label])
    order = _ascending(csv_file, ids)
    return np.asarray(ids, dtype=np.int64)[order], np.asarray(labels, dtype=np.int64)[order]


def read_submission_ids(csv_file: Path) -> Int64Array:
    """Read the ids of `sampleSubmission.csv`, in its order, int64 (n,).

    Its labels are placeholders and are not looked at. Raises InputError as `read_labels`.
    """
    ids = [number for _, number, _ in _rows(csv_file)]
    _ascending(csv_file, ids)  # refuses an id that comes twice
    return np.asarray(ids, dtype=np.int64)


def submission_ids(folder: Path) -> Int64Array:
    """The ids a submission must list, int64 (n,).

    They are those of `sampleSubmission.csv`, in its order; where the data has none, as the chapter's small sample,
    those of the images in `test/`, ascending.
    """
    listed = folder / "sampleSubmission.csv"
    return read_submission_ids(listed) if listed.exists() else list_png_folder(folder / "test").ids


def check_images(folder: Path, ids: Int64Array, listed_in: Path) -> None:
    """Raise InputError unless `folder` holds `<id>.png` for exactly the ids of `listed_in`."""
    found = list_png_folder(folder).ids
    without_image = np.setdiff1d(ids, found)
    if without_image.size:
        raise InputError(
            f"{folder} lacks {_some(without_image)} listed in {listed_in}; "
            "remove the folder and unpack the archive again, or use the list that belongs to these images."
        )
    unlisted = np.setdiff1d(found, ids)
    if unlisted.size:
        raise InputError(
            f"{folder} holds {_some(unlisted)} that {listed_in} does not list; "
            "move them away, or use the list that belongs to these images."
        )


def _rows(csv_file: Path) -> Iterator[tuple[int, int, str]]:
    """Yield (line number, id, label) of each line behind the header `id,label`."""
    try:
        with csv_file.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.reader(stream, strict=True)
            header = next(rows, [])
            if header != HEADER:
                raise InputError(f"{csv_file} must begin with the line id,label; it begins with {','.join(header)!r}.")
            for row in rows:
                if len(row) != 2:
                    raise InputError(f"{csv_file}, line {rows.line_num}: expected id,label, got {','.join(row)!r}.")
                yield rows.line_num, _id(csv_file, rows.line_num, row[0]), row[1]
    except FileNotFoundError:
        raise InputError(f"{csv_file} does not exist; it comes with the competition's archive.") from None
    except OSError as error:
        raise InputError(
            f"{csv_file} cannot be read ({error.strerror}); put the archive's own in its place."
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{csv_file} is no text file of lines id,label ({error}); unpack it again.") from error


def _id(csv_file: Path, line: int, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= _LARGEST_ID):
        raise InputError(f"{csv_file}, line {line}: the id must be a whole number from 1, got {text!r}.")
    return int(text)


def _ascending(csv_file: Path, ids: list[int]) -> NDArray[np.intp]:
    """The order that sorts the ids; raises InputError if there are none or one comes twice."""
    if not ids:
        raise InputError(f"{csv_file} lists no images; unpack it again.")
    array = np.asarray(ids, dtype=np.int64)
    order = np.argsort(array, kind="stable")
    twice = np.flatnonzero(np.diff(array[order]) == 0)
    if twice.size:
        raise InputError(f"{csv_file} lists id {array[order][twice[0]]} more than once; every id must come once.")
    return order


def _some(ids: Int64Array) -> str:
    """'12 images (1.png, 2.png, 3.png, ...)': the number of images and the first names."""
    names = ", ".join(f"{number}.png" for number in ids[:3])
    return f"{ids.size:,} image{'s' * (ids.size != 1)} ({names}{', ...' * (ids.size > 3)})"
