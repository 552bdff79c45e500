"""Images that lie in arrays: a file of one's own, and CIFAR-10's binary archive."""

import logging
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from imgclf.data.batches import ImageArray, as_tensors
from imgclf.data.fashion_mnist import download
from imgclf.data.module import ImageData
from imgclf.data.split import Positions
from imgclf.errors import InputError

log = logging.getLogger(__name__)
_DAMAGE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)  # ValueError: pickled objects


class Arrays(ImageData):
    """A .npz file with ``train_images``, ``train_labels`` and, for a test, ``test_images``, ``test_labels``.

    Where it has ``val_images`` and ``val_labels``, those are validated on, unless ``folds`` are wanted. Images are
    uint8 (n, h, w), (n, c, h, w) or (n, h, w, c), c being 1 or 3; labels whole numbers from 0. ``x_train``,
    ``y_train`` and so on will do as names, too.

    Args:
        file: the file.
        class_names: of each label.
        options: those of :class:`ImageData`.
    """

    def __init__(self, file: str, class_names: list[str] | None, **options: Any) -> None:
        super().__init__(**options)
        self.file, self._first_of_val = Path(file), 0
        self.class_names = tuple(class_names or map(str, range(self.num_classes)))

    @property
    def has_test_labels(self) -> bool:
        """Whether there is anything to test."""
        return any(name in self._arrays() for name in ("test_labels", "y_test"))

    def setup(self, stage: str) -> None:
        """What is wrong with the images and labels of the test is told before training."""
        super().setup(stage)
        if stage == "fit" and self.has_test_labels:
            super().setup("test")

    def read_train(self) -> ImageArray:
        train = self._part("train")
        if not {"val_images", "x_val"} & {*self._arrays()}:
            return train
        val, self._first_of_val = self._part("val"), len(train)
        if val.images.shape[1:] != train.images.shape[1:]:
            raise InputError(f"{self.file}: images for training and validation have other shapes: make them the same")
        return ImageArray(torch.cat([train.images, val.images]), torch.cat([train.labels, val.labels]))

    def split(self, labels: Positions) -> tuple[Positions, Positions]:
        if not self._first_of_val or self.folds is not None:
            return self.held_out(labels)
        every = np.arange(len(labels))
        return every[: self._first_of_val], every[self._first_of_val :]

    def read_test(self) -> ImageArray:
        return self._part("test")

    def _arrays(self) -> Any:
        try:
            found = np.load(self.file, allow_pickle=False)
            if isinstance(found, np.ndarray):
                raise ValueError("one array without a name")
        except _DAMAGE as error:
            raise InputError(f"data.file={self.file} is no .npz that can be read ({error}): give another") from error
        return found

    def _part(self, part: str) -> ImageArray:
        arrays, found, names = self._arrays(), [], []
        for kind, short in (("images", "x"), ("labels", "y")):
            name = next((n for n in (f"{part}_{kind}", f"{short}_{part}") if n in arrays), None)
            if name is None:
                raise InputError(f"data.file={self.file} lacks {part}_{kind}; it has {', '.join(arrays)}")
            names.append(f"{self.file}: {name}")
            try:
                found.append(arrays[name])
            except _DAMAGE as error:
                raise InputError(f"{names[-1]} cannot be read ({error}): save numbers") from error
        images, labels = map(np.atleast_1d, found)
        if len(images) != len(labels):
            raise InputError(f"{names[0]} has {len(images)} entries, {names[1]} {len(labels)}: give one label each")
        if labels.dtype.kind not in "iu" or labels.size != len(labels) or labels.min(initial=0) < 0:
            raise InputError(f"{names[1]} is {labels.dtype} {labels.shape}, expected whole numbers from 0, (n,)")
        return as_tensors(_checked_images(images, names[0]), labels.reshape(-1).astype(np.int64))


def _checked_images(images: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """As uint8 (n, c, h, w); an InputError says what to do about another type or form."""
    if images.dtype != np.uint8:
        if not images.size or images.dtype.kind not in "iufb":
            raise InputError(f"{name} is {images.dtype} {images.shape}, expected uint8, 0 to 255")
        low, high = float(images.min()), float(images.max())
        if low >= 0 and high <= 255:
            remedy = "(255 * images).round()" if images.dtype.kind == "f" and high <= 1 else "images"
        else:
            remedy = f"((images - {low:g}) * (255 / {high - low:g})).round()"  # the same for all parts
        told = f"{name} is {images.dtype} ({low:g} to {high:g}), expected uint8, 0 to 255"
        raise InputError(f"{told}: save {remedy}.astype('uint8')")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        log.info(f"{name} {images.shape} is taken as (n, height, width, channels)")
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.size:
        raise InputError(f"{name} has the shape {images.shape}, expected (n, h, w), (n, c, h, w) or (n, h, w, c)")
    if images.shape[2] != images.shape[3]:
        raise InputError(f"{name} has images of {images.shape[2]} x {images.shape[3]} pixels: cut or pad them square")
    return np.ascontiguousarray(images)


class CIFAR10(ImageData):
    """CIFAR-10 (Krizhevsky 2009), 50,000 + 10,000 colour images of 32x32, from its binary archive: no pickle is read.

    Args:
        dir: folder of ``cifar-10-binary.tar.gz``, which is downloaded to it where it is not there.
        url: of the archive.
        md5: of the archive.
        options: those of :class:`ImageData`.
    """

    class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    stored_size = 32

    def __init__(self, dir: str, url: str, md5: str, **options: Any) -> None:
        super().__init__(**options)
        self.url, self.md5, self.archive = url, md5, Path(dir, "cifar-10-binary.tar.gz")

    def prepare_data(self) -> None:
        """Download the archive unless it is there, whole."""
        download(self.url, self.archive, self.md5)

    def read_train(self) -> ImageArray:
        return self._read_batches("data_batch_")

    def read_test(self) -> ImageArray:
        return self._read_batches("test_batch")

    def _read_batches(self, prefix: str) -> ImageArray:
        """Each record is a label and 3,072 bytes: the red, then the green, then the blue plane."""
        try:
            with tarfile.open(self.archive) as members:
                names = sorted(n for n in members.getnames() if Path(n).name.startswith(prefix))
                data = b"".join(members.extractfile(name).read() for name in names)  # type: ignore[union-attr]
            records = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3073)
        except (OSError, ValueError, tarfile.TarError, EOFError) as error:
            raise InputError(f"{self.archive} cannot be used ({error}): delete it and run again") from error
        return as_tensors(records[:, 1:].reshape(-1, 3, 32, 32).copy(), records[:, 0].astype(np.int64))
