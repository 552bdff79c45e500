"""One's own pictures in class folders."""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imgclf.data.batches import ImageArray
from imgclf.data.decode import Decode, Fit, OnDamaged, decoded
from imgclf.data.folders import folder_names, labels_of, part_folder, pictures
from imgclf.data.module import ImageData
from imgclf.data.split import Positions, stratified_split
from imgclf.distributed import is_first
from imgclf.errors import InputError
from imgclf.ranges import AtLeast0, AtLeast1, Fraction

log = logging.getLogger(__name__)


class ImageFolder(ImageData):
    """``dir/train/CLASS/...`` with ``dir/valid`` and ``dir/test`` where there are such; or ``dir/CLASS/...`` alone.

    Without ``valid`` a stratified share of each class is held out for validation, without ``test``, or where its
    pictures are in no class, another for the test. Pictures may have any size and mode; they are decoded once, see
    :mod:`imgclf.data.decode`.

    Args:
        dir: the folder.
        class_names: of each label; folders are matched with them by name.
        stored_size: side in pixels to which pictures are decoded.
        fit: what becomes of pictures that are not square, see :class:`Decode`.
        test_fraction: share of each class that is tested, in [0, 1], where there is no ``test``.
        test_seed: which pictures that share has is a function of it, and not of ``seed``.
        on_damaged: ``stop`` or ``skip``: what to do about pictures that cannot be read.
        cache_dir: where the decoded pictures go; None for ``dir/.decoded``, or where that is read-only
            the user's cache.
        options: those of :class:`ImageData`.
    """

    def __init__(
        self,
        dir: str,
        class_names: Sequence[str],
        stored_size: AtLeast1,
        fit: Fit,
        test_fraction: Fraction,
        test_seed: AtLeast0,
        on_damaged: OnDamaged,
        cache_dir: str | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.dir = Path(dir)
        self.class_names = tuple(class_names)
        self.decode = Decode(1 if self.in_channels == 1 else 3, stored_size, fit)
        self.test_fraction, self.test_seed = test_fraction, test_seed
        self.how: dict[str, Any] = {"cache_dir": cache_dir, "on_damaged": on_damaged}
        self._parts: dict[str, tuple[ImageArray, int]] = {}

    @property
    def has_test_labels(self) -> bool:
        """Whether any picture is held out for the test."""
        return self.test_folder is not None or self.test_fraction > 0

    @functools.cached_property
    def test_folder(self) -> Path | None:
        """The part ``test``, unless its pictures are unlabelled: loose, or in one folder that is none of a class."""
        folder = part_folder(self.dir, "test")
        names = [] if folder is None else [name.lower() for name in folder_names(folder)]
        is_labelled = len(names) > 1 or bool({*names} & {name.lower() for name in self.class_names})
        if folder is not None and not is_labelled and pictures(folder):
            if is_first():
                log.warning(f"{folder} has no folder of a class, so no test; predict.py images={folder} classifies it")
            return None
        return folder

    def prepare_data(self) -> None:
        """Decode what the stage needs, unless it has been; before training all, so that what is wrong is told."""
        is_test = self.trainer is not None and self.trainer.testing
        if is_test or self.test_folder is not None:
            self._images("test")
        if not is_test:
            self._images("train")

    def read_train(self) -> ImageArray:
        return self._images("train")[0]

    def read_test(self) -> ImageArray:
        if not self.has_test_labels:
            raise InputError(f"{self.dir} has no labelled test/ and data.test_fraction=0: there is nothing to test")
        images, first_of_valid = self._images("test")
        if self.test_folder is not None:
            return images
        return images.part(self._tested(images.labels.numpy(), first_of_valid))

    def split(self, labels: Positions) -> tuple[Positions, Positions]:
        _, first_of_valid = self._images("train")
        mixed = np.random.default_rng(self.seed).permutation  # files lie class by class
        rest, valid = np.split(np.arange(len(labels)), [first_of_valid])
        self._require_every_class(labels[rest])
        if self.test_folder is None and self.test_fraction > 0:
            if self.test_fraction == 1:
                raise InputError("data.test_fraction=1 leaves no picture to train on: give a smaller one")
            rest = np.setdiff1d(rest, self._tested(labels, first_of_valid))
        if len(valid):
            if self.folds is not None:
                raise InputError(f"data.folds={self.folds}, but {self.dir} has a part valid: leave one of them out")
            return mixed(rest), mixed(valid)
        train, valid = self.held_out(labels[rest])
        return mixed(rest[train]), mixed(rest[valid])

    def _tested(self, labels: Positions, first_of_valid: int) -> Positions:
        """Positions of the pictures held out for the test among all that are not in ``valid``."""
        if self.test_fraction == 1:
            if part_folder(self.dir, "test") is not None:
                raise InputError(f"{self.dir} has a test/ without folders of classes: give the folder that has them")
            return np.arange(len(labels))
        return stratified_split(labels[:first_of_valid], self.test_fraction, self.test_seed, self.class_names)[1]

    def _images(self, part: str) -> tuple[ImageArray, int]:
        """Pictures of ``train`` and then ``valid``, or of ``test``; and where those of ``valid`` begin."""
        is_trained_on = part == "train"
        if not is_trained_on and self.test_folder is None:
            part = "train"  # which it is a share of
        if part not in self._parts:
            first = self.test_folder if part == "test" else part_folder(self.dir, "train")
            first, second = first or self.dir, part_folder(self.dir, "valid")
            listed = [self._listed(folder) for folder in (first, second if part == "train" else None) if folder]
            files = [file for found, _ in listed for file in found]
            labels = [label for _, found in listed for label in found]
            if is_trained_on:
                self._require_every_class(listed[0][1])  # before they are decoded; afterwards some may be left out
            images, kept = decoded(files, labels, self.dir, self.decode, part=part, **self.how)
            if len(kept) < len(files):  # which ones, was told when they were decoded
                log.warning(f"{self.dir}: {len(files) - len(kept):,} damaged of {len(files):,} pictures are left out")
            self._parts[part] = images, int(np.searchsorted(kept, len(listed[0][0])))
        return self._parts[part]

    def _require_every_class(self, labels: Positions | list[int]) -> None:
        found = {*labels}
        if lacking := [name for label, name in enumerate(self.class_names) if label not in found]:
            raise InputError(f"{self.dir} has no picture of {', '.join(lacking)} to train on: add some")

    def _listed(self, folder: Path) -> tuple[list[Path], list[int]]:
        found = pictures(folder)
        if not found:
            raise InputError(f"{folder} holds no picture: give a folder of CLASS/PICTURE")
        return found, labels_of(found, folder, self.class_names)
