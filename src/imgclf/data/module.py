"""What every data set of this package shares: split, loaders, and the way from bytes to the network.

Legend of shapes: n images of a batch, c channels, h = w pixels.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningDataModule, Trainer
from torch import Tensor

from imgclf.data import transforms
from imgclf.data.agreement import require_batches, require_images, require_ranges
from imgclf.data.batches import BatchLoader, EvalBatches, ImageArray, PlainBatches, TrainBatches, TrainLoader
from imgclf.data.decode import Decode
from imgclf.data.fingerprint import fingerprint
from imgclf.data.fingerprint import mean_and_std as measured
from imgclf.data.pixels import resize as resized
from imgclf.data.pixels import to_float
from imgclf.data.split import stratified_split
from imgclf.errors import InputError


class ImageData(LightningDataModule):
    """Decoded images in memory; whole uint8 batches; float conversion and resizing on the device.

    A data set is a subclass: ``prepare_data`` downloads and decodes, in one process; ``read_train`` gives the
    arrays, in each, and ``read_test`` and ``read_unlabelled`` where there are such images.

    Args:
        in_channels: channels handed to the network: those of the images, or 3 for grey images, repeated.
        num_classes: number of classes.
        resize: side in pixels of what the network is fed; that of the stored images means no resizing.
        mean: by stored channel, of pixels in [0, 1]; None measures that of the training images.
        std: by stored channel, likewise.
        batch_size: training images a step, over all processes.
        eval_batch_size: images a step of validation and test, over all processes.
        val_fraction: share of the training images of each class held out for validation, in (0, 1).
        seed: decides the split and the order of the batches.
        shuffle: draw a new order of the training images each epoch.
        drop_last: leave a smaller last training batch out.
        num_workers: processes that gather batches ahead; 0 is fastest for images in memory.
        augment: which of ``augmentations`` training images go through, one or several in their order; or ``none``.
        augmentations: by name; see :mod:`imgclf.data.transforms`.
        mix: ``mixup`` or ``cutmix`` mixes the images of each training batch, and their labels; or ``none``.
        resident: keep the images in a GPU's memory, where gathering a batch costs next to nothing; ``auto`` does so
            where they take no more than a quarter of what is free. Each process of a DDP run keeps all of them.
            Without a GPU, and for images to predict, it means nothing.
        fit_on: ``train`` leaves the validation images out of training; ``train_valid`` trains on them too, and
            nothing is validated.
    """

    class_names: tuple[str, ...]
    has_test_labels: bool = True

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        resize: int,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        batch_size: int,
        eval_batch_size: int,
        val_fraction: float,
        seed: int,
        shuffle: bool = True,
        drop_last: bool = False,
        num_workers: int = 0,
        augment: str | Sequence[str] = "none",
        augmentations: Mapping[str, Any] | None = None,
        mix: Literal["none", "mixup", "cutmix"] = "none",
        resident: bool | Literal["auto"] = "auto",
        fit_on: Literal["train", "train_valid"] = "train",
    ) -> None:
        super().__init__()
        require_ranges(locals())
        known = {"none": None} | dict(augmentations or {})
        names = [augment] if isinstance(augment, str) else list(augment)
        for name in names:
            if name not in known:
                raise InputError(f"data.augment must be one or several of {', '.join(known)}, got {name!r}")
        self.augmentations = [found for name in names if (found := known[name]) is not None]
        self.mixer = transforms.mixer(mix, num_classes)
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.resize = resize
        self.mean, self.std = mean, std
        # How pictures from elsewhere become what is stored.
        self.decode = Decode(len(mean) if mean is not None else in_channels, resize)
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.val_fraction = val_fraction
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.resident = resident
        self.fit_on = fit_on
        self.train_set: ImageArray
        self.val_set: ImageArray
        self.test_set: ImageArray
        self.unlabelled_set: ImageArray
        # A mapping asks for those of what is read from now on.
        self.fingerprints: dict[str, dict[str, Any]] | None = None
        self._read: set[str] = set()
        self._generator = torch.Generator()

    def read_train(self) -> ImageArray:
        """All training images, stored form, those for validation among them."""
        raise NotImplementedError

    def read_test(self) -> ImageArray:
        """All test images with their labels."""
        raise InputError(f"{type(self).__name__} has no labelled test images: use scripts/predict.py")

    def read_unlabelled(self) -> ImageArray:
        """The images to classify, in the order of the answer; their labels mean nothing."""
        raise InputError(f"{type(self).__name__} has no images to predict: test it with scripts/evaluate.py")

    def split(self, labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of the training and of the validation images among all, for labels int64 (n,)."""
        return stratified_split(labels, self.val_fraction, self.seed)

    def fingerprint(self, part: str, images: ImageArray) -> dict[str, Any]:
        """What run.json says of the images of ``train``, ``test`` or ``unlabelled``, stored form."""
        return fingerprint(images)

    def mean_and_std(self, images: ImageArray) -> tuple[list[float], list[float]]:
        """By channel, of the pixels in [0, 1] of these training images."""
        return measured(images)

    def setup(self, stage: str) -> None:
        """Read what the stage needs, once."""
        part = {"test": "test", "predict": "unlabelled"}.get(stage, "train")
        if part in self._read:
            return
        images: ImageArray = getattr(self, f"read_{part}")()
        require_images(self, images)
        if self.fingerprints is not None:
            self.fingerprints[part] = self.fingerprint(part, images)
        if part == "train":
            train, val = self.split(images.labels.numpy())
            if self.mean is None:
                self.mean, self.std = self.mean_and_std(images.part(train))
            if self.fit_on == "train_valid":
                train = np.sort(np.concatenate([train, val]))
            everything = images if len(train) == len(images) else images.part(train)
            self.train_set, self.val_set = self._near(everything), self._near(images.part(val))
        else:
            setattr(self, f"{part}_set", self._near(images) if part == "test" else images)
        self._read.add(part)

    def _near(self, images: ImageArray) -> ImageArray:
        """The images where batches of them are gathered: in memory, or on the GPU that is going to use them."""
        device = self._device()
        if device.type != "cuda" or self.resident is False or self.num_workers > 0:
            return images
        free, _ = torch.cuda.mem_get_info(device)
        return images.on(device) if self.resident is True or images.nbytes <= free // 4 else images

    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def train_dataloader(self) -> TrainLoader:
        rank, world_size = self._place()
        if self.batch_size > len(self.train_set):
            raise InputError(
                f"data.batch_size={self.batch_size} is more than the {len(self.train_set)} training images that there "
                f"are: choose at most {len(self.train_set)}"
            )
        batches = TrainBatches(
            len(self.train_set),
            self.batch_size,
            seed=self.seed,
            shuffle=self.shuffle,
            drop_last=self.drop_last,
            rank=rank,
            world_size=world_size,
        )
        loader = TrainLoader(self.train_set, batches, self.num_workers, pin=self._device().type == "cuda")
        require_batches(self.trainer, "train", len(loader))
        return loader

    def val_dataloader(self) -> BatchLoader | list[BatchLoader]:
        # Images that were trained on would flatter the network.
        return self._eval_loader(self.val_set, "val") if self.fit_on == "train" else []

    def test_dataloader(self) -> BatchLoader:
        return self._eval_loader(self.test_set, "test")

    def predict_dataloader(self) -> PlainBatches:
        return PlainBatches(self._eval_loader(self.unlabelled_set, "predict"))

    def _eval_loader(self, images: ImageArray, stage: str) -> BatchLoader:
        rank, world_size = self._place()
        batches = EvalBatches(len(images), self.eval_batch_size, rank=rank, world_size=world_size)
        loader = BatchLoader(images, batches, self.num_workers, pin=self._device().type == "cuda")
        require_batches(self.trainer, stage, len(loader))
        return loader

    def _place(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> tuple[Tensor, Tensor] | Tensor:
        """On the device: uint8 (n, c, h, w) -> normalised (n, in_channels, resize, resize), float as the weights."""
        if isinstance(batch, Tensor):  # a network's example input, as it is fed
            return batch
        images, labels = batch
        if self.trainer is not None and self.trainer.training and (self.augmentations or self.mixer is not None):
            draws = self._draws(self.trainer)
            images = self.to_input(transforms.apply(self.augmentations, images, draws))
            if self.mixer is not None:
                transforms.seed(draws)
                images, labels = self.mixer(images, labels)
        else:
            images = self.to_input(images)
        if self.trainer is not None:
            images = images.to(self.trainer.lightning_module.dtype)  # float32, unless all weights are of another
        return images, labels

    def _draws(self, trainer: Trainer) -> torch.Generator:
        """Random numbers for one batch, a function of (seed, epoch, batch, process): a resumed run draws the same."""
        batch = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        place = (self.seed, trainer.current_epoch, batch, trainer.global_rank)
        return self._generator.manual_seed(hash(place) & (2**63 - 1))

    def to_input(self, images: Tensor) -> Tensor:
        """What the network is fed for stored images, without augmentation; shapes as above."""
        if self.mean is None or self.std is None:
            raise InputError("data.mean=null: it is measured in training only; give data.mean and data.std")
        images = resized(to_float(images, self.mean, self.std), self.resize)
        if images.shape[1] != self.in_channels:
            images = images.expand(-1, self.in_channels, -1, -1)
        return images


def as_tensors(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> ImageArray:
    """Wrap numpy arrays, uint8 (n, c, h, w) and int64 (n,), without copying them."""
    with warnings.catch_warnings():
        # torch has no read-only tensors and warns that a memory map must not be written to; nothing here writes.
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return ImageArray(torch.from_numpy(images), torch.from_numpy(labels))
