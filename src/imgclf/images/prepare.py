"""Bring Kaggle's CIFAR-10 competition into the form it is read in: `train/`, `test/` and two lists.

Each of the four appears in the folder only when it is complete and checked, so that a killed run goes on with
those that are missing and nothing half unpacked is ever taken for whole.
"""

import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from imgclf.errors import InputError
from imgclf.images import archives
from imgclf.images.archives import GIB, MIB, Limits
from imgclf.images.download import check_sha1, download
from imgclf.images.kaggle import (
    CLASSES,
    Int64Array,
    check_images,
    read_labels,
    read_submission_ids,
    submission_ids,
)
from imgclf.images.locking import only_one

log = logging.getLogger(__name__)

DEMO_URL = "http://d2l-data.s3-accelerate.amazonaws.com/kaggle_cifar10_tiny.zip"
DEMO_SHA1 = "2068874e4b9a9f0fb07ebe0ad2b29754449ccacd"
LABELS, SUBMISSION = "trainLabels.csv", "sampleSubmission.csv"
ARCHIVE, DEMO_ARCHIVE = "cifar-10.zip", "kaggle_cifar10_tiny.zip"
_STAGE = ".unpacking"

# Bounds against archives that are no image archives: a 32x32 RGB PNG has 3.2 KB at most, the competition's
# test set 300,000 images.
_IMAGE_BYTES, _IMAGE_BYTES_ON_AVERAGE, _MOST_IMAGES = 64 * 1024, 16 * 1024, 1_000_000
_LIST_LIMITS = Limits(member_bytes=64 * MIB, total_bytes=128 * MIB, members=2)
_COMPETITION_LIMITS = Limits(member_bytes=4 * GIB, total_bytes=8 * GIB, members=4)
_COMPETITION_MEMBER = re.compile(r"train\.7z|test\.7z|trainLabels\.csv|sampleSubmission\.csv")
_DEMO_LIMITS = Limits(member_bytes=4 * MIB, total_bytes=256 * MIB, members=50_000)
_DEMO_MEMBER = re.compile(rf"(?:[^/]+/)?((?:train|test)/[1-9]\d*\.png|{LABELS}|{SUBMISSION})")


@dataclass(frozen=True)
class KaggleData:
    """What a prepared folder holds: images of each class in the training set, and images of the test set."""

    folder: Path
    train_images_of: dict[str, int]
    test_images: int

    def __str__(self) -> str:
        counts = ", ".join(f"{name} {count:,}" for name, count in self.train_images_of.items())
        total = sum(self.train_images_of.values())
        return f"{self.folder}: {total:,} training images ({counts}); {self.test_images:,} test images"


def prepare_kaggle(
    archive: Path | None,
    folder: Path,
    *,
    demo: bool = False,
    demo_url: str = DEMO_URL,
    demo_sha1: str = DEMO_SHA1,
) -> KaggleData:
    """Make `folder` hold train/<id>.png, test/<id>.png, trainLabels.csv and sampleSubmission.csv, and check
    it.

    `archive` is the competition's zip; None takes cifar-10.zip, or train.7z, test.7z and the lists, from
    `folder`. With `demo` it is the chapter's sample of 1,000 images instead, downloaded from `demo_url`
    unless at hand; it has no sampleSubmission.csv. What is there already is kept and only checked, so a
    second call does nothing. Raises InputError that says what is missing, damaged or does not fit, and where
    to get it.
    """
    if not _is_unpacked(folder):
        _refuse_early(archive, folder, demo)
        folder.mkdir(parents=True, exist_ok=True)
        with only_one(folder):
            if _is_unpacked(folder):
                pass  # by another process, while this one waited
            elif demo:
                _unpack_demo(archive, folder, demo_url, demo_sha1)
            else:
                _unpack_competition(archive, folder)
    data = check_prepared(folder)
    log.info("%s", data)
    return data


def check_prepared(folder: Path) -> KaggleData:
    """Compare the images of a prepared folder with its lists; raises InputError as `prepare_kaggle`."""
    if not _is_unpacked(folder):
        raise InputError(_how_to_get(folder))
    ids, labels = read_labels(folder / LABELS)
    check_images(folder / "train", ids, folder / LABELS)
    test_ids = submission_ids(folder)
    check_images(folder / "test", test_ids, folder / SUBMISSION)
    counts = np.bincount(labels, minlength=len(CLASSES)).tolist()
    return KaggleData(folder, dict(zip(CLASSES, counts, strict=True)), len(test_ids))


def _is_unpacked(folder: Path) -> bool:
    return (folder / "train").is_dir() and (folder / "test").is_dir() and (folder / LABELS).is_file()


def _refuse_early(archive: Path | None, folder: Path, demo: bool) -> None:
    """Before anything is made: is there something to unpack, and is it a file?"""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give the folder to unpack into.")
    if archive is not None and not archive.is_file():
        what = "is a folder; give the path of the zip" if archive.is_dir() else "does not exist"
        raise InputError(f"the archive {archive} {what}.\n{_how_to_get(folder)}")
    parts = [folder / "train.7z", folder / "test.7z", folder / "train", folder / "test"]
    if archive is None and not demo and not (folder / ARCHIVE).is_file() and not any(p.exists() for p in parts):
        raise InputError(_how_to_get(folder))


def _how_to_get(folder: Path) -> str:
    missing = [name for name in ("train", "test", LABELS) if not (folder / name).exists()]
    return (
        f"{folder} lacks {', '.join(missing) or 'the images'} of Kaggle's CIFAR-10 competition. "
        "Accept its rules at https://www.kaggle.com/c/cifar-10, then\n"
        f"  kaggle competitions download -c cifar-10 -p {folder}\n"
        f"and run again; or give the path of {ARCHIVE} as archive=PATH; or put train.7z, test.7z, {LABELS} "
        f"and {SUBMISSION} into {folder}. demo=true downloads a sample of 1,000 images instead."
    )


def _unpack_competition(archive: Path | None, folder: Path) -> None:
    """Unpack what is missing, the lists first: they say what the image archives must hold."""
    if archive is None and (folder / ARCHIVE).is_file():
        archive = folder / ARCHIVE
    with _stage(folder) as stage:
        if archive is not None:
            _check_competition_zip(archive)
            _place_lists(archive, folder, stage)
        _place_images(archive, folder, stage, "train", read_labels(folder / LABELS)[0], LABELS)
        listed = (folder / SUBMISSION).exists()
        test_ids = read_submission_ids(folder / SUBMISSION) if listed else None
        _place_images(archive, folder, stage, "test", test_ids, SUBMISSION)


def _place_lists(archive: Path, folder: Path, stage: Path) -> None:
    missing = [name for name in (SUBMISSION, LABELS) if not (folder / name).exists()]
    if missing:
        archives.extract_zip(archive, {name: stage / name for name in missing})
    for name in missing:
        (read_labels if name == LABELS else read_submission_ids)(stage / name)  # refuses a damaged list
        (stage / name).replace(folder / name)


def _place_images(
    archive: Path | None, folder: Path, stage: Path, part: str, ids: Int64Array | None, listed_in: str
) -> None:
    """Unpack `<part>.7z`, out of the zip or lying in `folder`, compare it with its list and place it."""
    if (folder / part).exists():
        return
    packed = folder / f"{part}.7z"
    if archive is not None:
        packed = stage / packed.name
        archives.extract_zip(archive, {packed.name: packed})
    elif not packed.is_file():
        raise InputError(_how_to_get(folder))
    images = _MOST_IMAGES if ids is None else len(ids)
    limits = Limits(_IMAGE_BYTES, images * _IMAGE_BYTES_ON_AVERAGE + MIB, 2 * images + 100)
    allowed = re.compile(rf"{part}/[1-9]\d*\.png")
    archives.extract_7z(packed, stage / part, allowed=allowed, limits=limits)
    if ids is not None:
        check_images(stage / part, ids, folder / listed_in)
    (stage / part).replace(folder / part)
    (stage / packed.name).unlink(missing_ok=True)  # our copy out of the zip


def _check_competition_zip(archive: Path) -> None:
    members = archives.zip_members(archive)
    archives.check_members(archive, members, _COMPETITION_MEMBER, _COMPETITION_LIMITS)
    lists = [member for member in members if member.name.endswith(".csv")]
    archives.check_members(archive, lists, _COMPETITION_MEMBER, _LIST_LIMITS)
    expected = {"train.7z", "test.7z", LABELS, SUBMISSION}
    missing = sorted(expected - {member.name for member in members})
    if missing:
        raise InputError(
            f"{archive} lacks {', '.join(missing)}: it is not the competition's whole archive; "
            "download it again from https://www.kaggle.com/c/cifar-10."
        )


def _unpack_demo(archive: Path | None, folder: Path, url: str, sha1: str) -> None:
    """Unpack the chapter's sample from `archive`, a copy lying in the folder, or the network."""
    with _stage(folder) as stage:
        if archive is None:
            archive = folder / DEMO_ARCHIVE
            if not archive.is_file():
                download(
                    [url],
                    archive,
                    verify=partial(check_sha1, sha1=sha1),
                    max_bytes=_DEMO_LIMITS.total_bytes,
                    remedy=f"Download it by hand to {archive} and run again",
                )
        check_sha1(archive, sha1)
        members = archives.zip_members(archive)
        matches = {member.name: _DEMO_MEMBER.fullmatch(member.name) for member in members}
        wanted = [member for member in members if matches[member.name]]
        archives.check_members(archive, wanted, _DEMO_MEMBER, _DEMO_LIMITS)
        targets = {name: stage / match[1] for name, match in matches.items() if match}
        parts = {path.relative_to(stage).parts[0] for path in targets.values()}
        if not {"train", "test", LABELS} <= parts:
            raise InputError(f"{archive} lacks train/, test/ or {LABELS}: it is not the chapter's sample.")
        archives.extract_zip(archive, targets)
        check_images(stage / "train", read_labels(stage / LABELS)[0], stage / LABELS)
        for part in sorted(parts):  # the folders, then the lists that make the data count as unpacked
            if not (folder / part).exists():
                (stage / part).replace(folder / part)


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """A folder to unpack in, beside its goal (so that renaming is one move), empty at first and removed at
    last.
    """
    stage = folder / _STAGE
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
