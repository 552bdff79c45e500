"""What every data set of this package shares: split, loaders, and the way from bytes to the network.

Legend of shapes: n images of a batch, c channels, h = w pixels.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule
from torch import Tensor

from imgclf.data.batches import BatchLoader, EvalBatches, ImageArray, TrainBatches, TrainLoader
from imgclf.data.split import stratified_split
from imgclf.errors import InputError
from imgclf.images.pixels import resize, to_float


class ImageData(LightningDataModule):
    """Decoded images in memory; whole uint8 batches; float conversion and resizing on the device.

    A data set is a subclass with two methods: ``prepare_data`` (download, decode; runs in one process) and
    ``read`` (give the arrays; runs in each).

    Args:
        in_channels: channels handed to the network: those of the images, or 3 for grey images, repeated.
        num_classes: number of classes.
        resize: side in pixels of what the network is fed; that of the stored images means no resizing.
        mean: by stored channel, of pixels in [0, 1].
        std: by stored channel, likewise.
        batch_size: training images a step, over all processes.
        eval_batch_size: images a step of validation and test, over all processes.
        val_fraction: share of the training images of each class held out for validation, in (0, 1).
        seed: decides the split and the order of the batches.
        shuffle: draw a new order of the training images each epoch.
        drop_last: leave a smaller last training batch out.
        num_workers: processes that gather batches ahead; 0 is fastest for images in memory.
    """

    class_names: tuple[str, ...]

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        resize: int,
        mean: Sequence[float],
        std: Sequence[float],
        batch_size: int,
        eval_batch_size: int,
        val_fraction: float,
        seed: int,
        shuffle: bool = True,
        drop_last: bool = False,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        for name, value in {
            "batch_size": batch_size,
            "eval_batch_size": eval_batch_size,
            "resize": resize,
            "in_channels": in_channels,
            "num_classes": num_classes,
        }.items():
            if value < 1:
                raise InputError(f"data.{name} must be at least 1, got {value}")
        if num_workers < 0:
            raise InputError(f"data.num_workers must be at least 0, got {num_workers}")
        if not 0 < val_fraction < 1:
            raise InputError(f"data.val_fraction must lie in (0, 1), got {val_fraction}")
        if len(mean) != len(std) or any(s <= 0 for s in std):
            raise InputError(
                f"data.mean={list(mean)} and data.std={list(std)} must have one entry a channel, std above 0"
            )
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.resize = resize
        self.mean = mean
        self.std = std
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.val_fraction = val_fraction
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.train_set: ImageArray
        self.val_set: ImageArray
        self.test_set: ImageArray
        self._is_set_up = False

    def read(self) -> tuple[ImageArray, ImageArray]:
        """All training images and all test images, stored form. Subclasses give them."""
        raise NotImplementedError

    def setup(self, stage: str) -> None:
        """Read the images once and hold the validation images out; the test set stays as it is."""
        if self._is_set_up:
            return
        all_train, self.test_set = self.read()
        for images in (all_train, self.test_set):
            self._check(images)
        train, val = stratified_split(all_train.labels.numpy(), self.val_fraction, self.seed)
        self.train_set = ImageArray(all_train.images, all_train.labels, torch.from_numpy(train))
        self.val_set = ImageArray(all_train.images, all_train.labels, torch.from_numpy(val))
        self._is_set_up = True

    def _check(self, images: ImageArray) -> None:
        channels = images.images.shape[1]
        if len(self.mean) != channels:
            raise InputError(
                f"data.mean and data.std have {len(self.mean)} entries, the images {channels} channel(s): give one each"
            )
        if self.in_channels != channels and channels != 1:
            raise InputError(f"data.in_channels={self.in_channels}, but the images have {channels} channels")
        largest = int(images.labels.max())
        if largest >= self.num_classes:
            raise InputError(f"data.num_classes={self.num_classes}, but there is a label {largest}")

    def train_dataloader(self) -> TrainLoader:
        rank, world_size = self._place()
        batches = TrainBatches(
            len(self.train_set),
            self.batch_size,
            seed=self.seed,
            shuffle=self.shuffle,
            drop_last=self.drop_last,
            rank=rank,
            world_size=world_size,
        )
        return TrainLoader(self.train_set, batches, self.num_workers)

    def val_dataloader(self) -> BatchLoader:
        return self._eval_loader(self.val_set)

    def test_dataloader(self) -> BatchLoader:
        return self._eval_loader(self.test_set)

    def _eval_loader(self, images: ImageArray) -> BatchLoader:
        rank, world_size = self._place()
        batches = EvalBatches(len(images), self.eval_batch_size, rank=rank, world_size=world_size)
        return BatchLoader(images, batches, self.num_workers)

    def _place(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> tuple[Tensor, Tensor]:
        """On the device: uint8 (n, c, h, w) -> normalised float32 (n, in_channels, resize, resize)."""
        images, labels = batch
        return self.to_input(images), labels

    def to_input(self, images: Tensor) -> Tensor:
        """What the network is fed for stored images, without augmentation; shapes as above."""
        images = resize(to_float(images, self.mean, self.std), self.resize)
        if images.shape[1] != self.in_channels:
            images = images.expand(-1, self.in_channels, -1, -1)
        return images


def as_tensors(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> ImageArray:
    """Wrap numpy arrays, uint8 (n, c, h, w) and int64 (n,), without copying them."""
    with warnings.catch_warnings():
        # torch has no read-only tensors and warns that a memory map must not be written to; nothing here writes.
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return ImageArray(torch.from_numpy(images), torch.from_numpy(labels))
