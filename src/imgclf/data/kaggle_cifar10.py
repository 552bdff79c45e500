"""Kaggle's CIFAR-10 competition: 32x32 colour images in 10 classes, from a folder of PNG files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgclf.data.batches import ImageArray
from imgclf.data.module import ImageData, as_tensors
from imgclf.images.cache import cached_images
from imgclf.images.kaggle import CLASSES, read_labels, submission_ids
from imgclf.images.prepare import LABELS, check_prepared
from imgclf.images.split import split_by_class


class KaggleCIFAR10(ImageData):
    """The folder that scripts/prepare_kaggle.py makes. The PNG files are decoded once into a cache.

    Validation images are chosen by the chapter's rule: each class gives as many as ``val_fraction`` of the smallest
    class, at least one. The test images have no labels; scripts/predict.py classifies them.

    Args:
        dir: has ``train/``, ``test/``, ``trainLabels.csv``, ``sampleSubmission.csv``.
        cache_dir: where the decoded images go.
        stored_size: side in pixels that every PNG file must have.
        decode_workers: processes that decode; None for one a core.
        options: those of :class:`ImageData`.
    """

    class_names = CLASSES
    has_test_labels = False

    def __init__(self, dir: str, cache_dir: str, stored_size: int, decode_workers: int | None, **options: Any) -> None:
        super().__init__(**options)
        self.dir = Path(dir)
        self.cache_dir = Path(cache_dir)
        self.stored_size = stored_size
        self.decode_workers = decode_workers
        self._decoded: dict[str, tuple[NDArray[np.int64], NDArray[np.uint8]]] = {}
        self._caches: dict[str, str] = {}

    def prepare_data(self) -> None:
        """Check the folder, and decode what the stage needs unless it has been."""
        check_prepared(self.dir)
        is_predicting = self.trainer is not None and self.trainer.predicting
        self._images("test" if is_predicting else "train")

    def read_train(self) -> ImageArray:
        ids, labels = read_labels(self.dir / LABELS)
        found, images = self._images("train")
        assert np.array_equal(ids, found)  # check_prepared compared them
        return as_tensors(images, labels)

    def read_unlabelled(self) -> ImageArray:
        """The test images in the order of their file names' numbers."""
        found, images = self._images("test")
        return as_tensors(images, np.zeros(len(found), dtype=np.int64))

    def predicted_ids(self) -> NDArray[np.int64]:
        """The id, from its file's name, of each image that ``read_unlabelled`` gives; int64 (n,)."""
        return self._images("test")[0]

    def ids_to_submit(self) -> NDArray[np.int64]:
        """The ids that a submission lists, in its order; int64 (n,)."""
        return submission_ids(self.dir)

    def split(self, labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return split_by_class(labels, self.val_fraction, np.random.default_rng(self.seed))

    def fingerprint(self, part: str, images: ImageArray) -> dict[str, Any]:
        """As for all data, and ``files``: the cache's own, over every file's name, size and time of change."""
        files = self._caches["train" if part == "train" else "test"]
        return super().fingerprint(part, images) | {"files": files[:16]}

    def _images(self, part: str) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        if part not in self._decoded:
            cached = cached_images(self.dir / part, self.cache_dir, size=self.stored_size, workers=self.decode_workers)
            self._decoded[part] = cached.ids, cached.images
            self._caches[part] = cached.fingerprint
        return self._decoded[part]
