"""One's own pictures in class folders."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imgclf.data.batches import ImageArray
from imgclf.data.cache import Decoded, OnDamaged, decoded
from imgclf.data.decode import Decode
from imgclf.data.folders import labels_of, part_folder, pictures
from imgclf.data.module import ImageData, as_tensors
from imgclf.data.split import stratified_split
from imgclf.errors import InputError

log = logging.getLogger(__name__)


class ImageFolder(ImageData):
    """``dir/train/CLASS/...`` with ``dir/valid`` and ``dir/test`` where there are such; or ``dir/CLASS/...`` alone.

    Without ``valid`` a stratified share of each class is held out for validation, without ``test`` another for the
    test. Pictures may have any size and mode; they are decoded once, see :mod:`imgclf.data.cache`.

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
        decode_workers: processes that decode; None for one a core.
        options: those of :class:`ImageData`.
    """

    def __init__(
        self,
        dir: str,
        class_names: Sequence[str],
        stored_size: int,
        fit: Literal["centre", "letterbox"],
        test_fraction: float,
        test_seed: int,
        on_damaged: OnDamaged,
        cache_dir: str | None,
        decode_workers: int | None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not 0 <= test_fraction <= 1:
            raise InputError(f"data.test_fraction must lie in [0, 1], got {test_fraction}")
        if stored_size < 1:
            raise InputError(f"data.stored_size must be at least 1, got {stored_size}")
        self.dir = Path(dir)
        self.class_names = tuple(class_names)
        self.decode = Decode(1 if self.in_channels == 1 else 3, stored_size, fit)
        self.test_fraction, self.test_seed = test_fraction, test_seed
        self.on_damaged = on_damaged
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.decode_workers = decode_workers
        self._decoded: dict[str, tuple[Decoded, NDArray[np.int64], int]] = {}

    @property
    def has_test_labels(self) -> bool:  # type: ignore[override]
        """Whether any picture is held out for the test."""
        return part_folder(self.dir, "test") is not None or self.test_fraction > 0

    def prepare_data(self) -> None:
        """Decode what the stage needs, unless it has been."""
        self._images("test" if self.trainer is not None and self.trainer.testing else "train")

    def read_train(self) -> ImageArray:
        found, labels, _ = self._images("train")
        return as_tensors(found.images, labels)

    def read_test(self) -> ImageArray:
        if part_folder(self.dir, "test") is None and self.test_fraction == 0:
            raise InputError(f"{self.dir} has no test/ and data.test_fraction=0: there is nothing to test")
        found, labels, _ = self._images("test")
        images = as_tensors(found.images, labels)
        return images if part_folder(self.dir, "test") is not None else images.part(self._tested(labels))

    def split(self, labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        first_of_valid = self._images("train")[2]
        lacking = [name for k, name in enumerate(self.class_names) if k not in labels[:first_of_valid]]
        if lacking:
            raise InputError(f"{self.dir} has no picture of {', '.join(lacking)} to train on: add some")
        everything = np.arange(len(labels))
        if part_folder(self.dir, "test") is None and self.test_fraction > 0:
            rest = np.setdiff1d(everything[:first_of_valid], self._tested(labels))
        else:
            rest = everything[:first_of_valid]
        if first_of_valid < len(labels):
            return rest, everything[first_of_valid:]
        train, valid = stratified_split(labels[rest], self.val_fraction, self.seed, self.class_names)
        return rest[train], rest[valid]

    def mean_and_std(self, images: ImageArray) -> tuple[list[float], list[float]]:
        assert images.chosen is not None
        return self._images("train")[0].mean_and_std(images.chosen.numpy())  # from sums, without reading all pixels

    def fingerprint(self, part: str, images: ImageArray) -> dict[str, Any]:
        """As for all data, and ``files``: a digest of every file's name, size and time of change."""
        return super().fingerprint(part, images) | {"files": self._images(part)[0].key[:16]}

    def _tested(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of the pictures held out for the test among all that are not in ``valid``."""
        first_of_valid = self._images("train")[2]
        if self.test_fraction == 1:
            return np.arange(len(labels))
        return stratified_split(labels[:first_of_valid], self.test_fraction, self.test_seed, self.class_names)[1]

    def _images(self, part: str) -> tuple[Decoded, NDArray[np.int64], int]:
        """Pictures of ``train`` and ``valid``, or of ``test``; their labels; and where those of ``valid`` begin."""
        if part == "test" and part_folder(self.dir, "test") is None:
            part = "train"  # which it is a share of
        if part not in self._decoded:
            folders = [part_folder(self.dir, "train") or self.dir, part_folder(self.dir, "valid")]
            listed = [self._listed(f) for f in (folders if part == "train" else [part_folder(self.dir, "test")]) if f]
            files = [file for found, _ in listed for file in found]
            result = decoded(
                files,
                self.dir,
                self.decode,
                cache_dir=self.cache_dir,
                workers=self.decode_workers,
                on_damaged=self.on_damaged,
            )
            labels = np.array([label for _, found in listed for label in found], dtype=np.int64)[result.kept]
            self._decoded[part] = result, labels, int(np.searchsorted(result.kept, len(listed[0][0])))
        return self._decoded[part]

    def _listed(self, folder: Path) -> tuple[list[Path], list[int]]:
        found, others = pictures(folder)
        if not found:
            raise InputError(f"{folder} holds no picture: give a folder of CLASS/PICTURE")
        if others:
            log.warning(f"{folder}: {len(others)} file(s) that are no pictures are left out, {others[0]} first")
        return found, labels_of(found, folder, self.class_names)
