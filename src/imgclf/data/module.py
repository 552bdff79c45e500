"""What every data set of this package shares: split, loaders, and the way from bytes to the network."""

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field
from pytorch_lightning import LightningDataModule
from torch import Tensor

from imgclf.data import transforms
from imgclf.data.batches import Batches, BatchLoader, ImageArray, TrainBatches, eval_batches
from imgclf.data.decode import Decode
from imgclf.data.split import Positions, fold_split, stratified_split
from imgclf.distributed import is_first
from imgclf.errors import InputError
from imgclf.ranges import AtLeast0, AtLeast1, AtLeast2, Fraction, NumberAbove0

log = logging.getLogger(__name__)


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
        folds: for cross-validation: so many stratified parts of the training images, in the place of ``val_fraction``;
            the seed decides them, so runs with the same one validate on all images among them.
        fold: which of them is validated on, from 0; the others are trained on.
        shuffle: draw a new order of the training images each epoch.
        sampler: ``balanced`` draws the training images so that every class comes equally often.
        drop_last: leave a smaller last training batch out.
        num_workers: processes that gather batches ahead; 0 is fastest for images in memory.
        augment: which of ``augmentations`` training images go through, one or several in their order; or ``none``.
        augmentations: by name; see ``imgclf.data.transforms``.
        mix: ``mixup`` or ``cutmix`` mixes the images of training batches, and their labels; or ``none``.
        mix_probability: share of the batches that are mixed.
        resident: keep the images in a GPU's memory, where gathering a batch costs next to nothing; ``auto`` does so
            where they take no more than a quarter of what is free. Each process of a DDP run keeps all of them.
            Without a GPU, for images to predict, and with workers, which cannot reach them, it means nothing.
        fit_on: ``train`` leaves the validation images out of training; ``train_valid`` trains on them too, and
            nothing is validated.
    """

    train_set: ImageArray
    val_set: ImageArray
    test_set: ImageArray
    unlabelled_set: ImageArray
    stored_size: int | None = None  # side in pixels of the images as they are read, where it is always the same

    def __init__(
        self,
        *,
        in_channels: AtLeast1,
        num_classes: AtLeast1,
        resize: AtLeast1,
        mean: Sequence[Fraction] | None,
        std: Sequence[NumberAbove0] | None,
        batch_size: AtLeast1,
        eval_batch_size: AtLeast1,
        val_fraction: Annotated[float, Field(gt=0, lt=1)],
        seed: AtLeast0,
        folds: AtLeast2 | None = None,
        fold: AtLeast0 = 0,
        shuffle: bool = True,
        sampler: Literal["uniform", "balanced"] = "uniform",
        drop_last: bool = False,
        num_workers: Annotated[int, Field(ge=0, le=512)] = 0,
        augment: str | Sequence[str] = "none",
        augmentations: Mapping[str, Any] | None = None,
        mix: transforms.Mix = "none",
        mix_probability: Fraction = 1.0,
        resident: bool | Literal["auto"] = "auto",
        fit_on: Literal["train", "train_valid"] = "train",
    ) -> None:
        super().__init__()
        if len(mean or ()) != len(std or ()):
            raise InputError(f"data.mean={mean} and data.std={std} must have an entry a channel, or be null")
        if fold >= (folds or 1):
            raise InputError(f"data.fold={fold} is counted from 0, and data.folds={folds}: give a smaller one")
        known = {"none": None} | dict(augmentations or {})
        names = [augment] if isinstance(augment, str) else list(augment)
        if unknown := [name for name in names if name not in known]:
            raise InputError(f"data.augment must be one or several of {', '.join(known)}, got {unknown[0]!r}")
        self.augmentations = [transforms.batched(found) for name in names if (found := known[name]) is not None]
        self.mixer = transforms.mixer(mix, mix_probability, num_classes)
        self.in_channels, self.num_classes, self.resize = in_channels, num_classes, resize
        self.mean, self.std, self.folds, self.fold = mean, std, folds, fold
        # How pictures from elsewhere become what is stored.
        self.decode = Decode(len(mean) if mean is not None else in_channels, self.stored_size or resize)
        self.batch_size, self.eval_batch_size, self.val_fraction = batch_size, eval_batch_size, val_fraction
        self.seed, self.shuffle, self.drop_last, self.sampler = seed, shuffle, drop_last, sampler
        self.num_workers, self.resident, self.fit_on = num_workers, resident, fit_on
        self.fingerprints: dict[str, dict[str, Any]] | None = None  # a mapping asks for those read from now on
        self._read: set[str] = set()
        self._generator = torch.Generator()

    @property
    def has_test_labels(self) -> bool:
        """Whether there are test images whose labels are known."""
        return type(self).read_test is not ImageData.read_test

    @functools.cached_property  # which a subclass, or an instance, may have of its own
    def class_names(self) -> tuple[str, ...]:
        """Of each label: its number, where a data set has no names."""
        return tuple(map(str, range(self.num_classes)))

    def read_train(self) -> ImageArray:
        """All training images, stored form, those for validation among them."""
        raise NotImplementedError

    def read_test(self) -> ImageArray:
        """All test images with their labels."""
        raise InputError(f"{type(self).__name__} has no labelled test images: use scripts/predict.py")

    def read_unlabelled(self) -> ImageArray:
        """The images to classify, in the order of the answer; their labels mean nothing."""
        raise InputError(f"{type(self).__name__} has no images to predict: test it with scripts/evaluate.py")

    def split(self, labels: Positions) -> tuple[Positions, Positions]:
        """Positions of the training and of the validation images among all, for labels int64 (n,)."""
        return self.held_out(labels)

    def held_out(self, labels: Positions) -> tuple[Positions, Positions]:
        """The same by ``val_fraction``, or by ``folds``, whatever a data set's own way is."""
        if self.folds is None:
            return stratified_split(labels, self.val_fraction, self.seed, self.class_names)
        return fold_split(labels, self.folds, self.fold, self.seed, self.class_names)

    def setup(self, stage: str) -> None:
        """Read what the stage needs, once."""
        part = {"test": "test", "predict": "unlabelled"}.get(stage, "train")
        if part in self._read:
            return
        images: ImageArray = getattr(self, f"read_{part}")()
        self.require(images)
        if (size := images.images.shape[-1]) != self.resize and is_first():
            log.info(f"images of {size} x {size} pixels are resized: data.resize={self.resize}")
        if self.fingerprints is not None:
            self.fingerprints[part] = images.fingerprint()
        if part == "train":
            train, val = self.split(images.labels.numpy())
            if self.mean is None:
                self.mean, self.std = images.part(train).mean_and_std()
            if self.fit_on == "train_valid":
                train = np.sort(np.concatenate([train, val]))
            found = {*images.labels[train].tolist()}
            if is_first() and (lacking := [n for label, n in enumerate(self.class_names) if label not in found]):
                log.warning(f"no image of {', '.join(lacking[:10])} to train on: the network cannot learn such classes")
            everything = images if np.array_equal(train, np.arange(len(images))) else images.part(train)
            self.train_set, self.val_set = self._near(everything), self._near(images.part(val))
        else:
            setattr(self, f"{part}_set", self._near(images) if part == "test" else images)
        self._read.add(part)

    def require(self, images: ImageArray) -> None:
        """Refuse images that do not fit what the configuration says of them, or are of another form."""
        shape, kind, labels = tuple(images.images.shape), images.images.dtype, images.labels
        fits, lowest = len(shape) == 4 and shape[2] == shape[3] and labels.shape == shape[:1], int(labels.min())
        if (kind, labels.dtype, fits) != (torch.uint8, torch.int64, True) or lowest < 0:
            found = f"{type(self).__name__}: {kind} {shape}, labels {labels.dtype} {(*labels.shape,)} from {lowest}"
            raise InputError(f"{found}: expected torch.uint8 (n, c, s, s), from 0 to 255, and torch.int64 from 0")
        channels, largest = shape[1], int(labels.max())
        classes = largest + 1 if largest >= self.num_classes else len(self.class_names)
        if self.mean is not None and (n := len(self.mean)) not in (channels, self.in_channels):
            raise InputError(f"data.mean, data.std have {n} entries, the images {channels} channel(s): give one each")
        if self.in_channels != channels and (self.in_channels, channels) != (3, 1):
            found = f"data.in_channels={self.in_channels}, but the images have {channels} channel(s)"
            raise InputError(f"{found}: give as many, or 3 to have a grey one repeated")
        if classes != self.num_classes:
            found = f"labels go from 0 to {largest}" if largest >= self.num_classes else f"the data set names {classes}"
            raise InputError(f"data.num_classes={self.num_classes}, but {found}: give data.num_classes={classes}")

    def _near(self, images: ImageArray) -> ImageArray:
        """The images where batches of them are gathered: in memory, or on the GPU that is going to use them."""
        device = self._device()
        if device.type != "cuda" or self.resident is False or self.num_workers > 0:
            return images
        few = len(images) * images.images[0].numel() <= torch.cuda.mem_get_info(device)[0] // 4
        return images.on(device) if self.resident is True or few else images

    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def train_dataloader(self) -> BatchLoader:
        return self._loader(self.train_set, "train")

    def val_dataloader(self) -> BatchLoader | list[BatchLoader]:
        # Images that were trained on would flatter the network.
        return self._loader(self.val_set, "val") if self.fit_on == "train" else []

    def test_dataloader(self) -> BatchLoader:
        return self._loader(self.test_set, "test")

    def predict_dataloader(self) -> BatchLoader:
        return self._loader(self.unlabelled_set, "predict")

    def _loader(self, images: ImageArray, stage: str) -> BatchLoader:
        """Whole batches."""
        trainer = self.trainer
        rank, world_size = (0, 1) if trainer is None else (trainer.global_rank, trainer.world_size)
        if stage == "train":
            labels = images.labels if images.chosen is None else images.labels[images.chosen]
            order = (self.seed, self.shuffle, self.drop_last, labels.cpu() if self.sampler == "balanced" else None)
            batches: Batches = TrainBatches(len(images), self.batch_size, *order, rank=rank, world_size=world_size)
        else:
            batches = eval_batches(len(images), self.eval_batch_size, rank=rank, world_size=world_size)
        return BatchLoader(images, batches, self.num_workers, pin=self._device().type == "cuda")

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> tuple[Tensor, Tensor] | Tensor:
        """On the device: uint8 (n, c, h, w) -> normalised (n, in_channels, resize, resize), float as the weights."""
        if isinstance(batch, Tensor):  # a network's example input, as it is fed
            return batch
        (images, labels), trainer = batch, self.trainer
        is_drawn = trainer is not None and trainer.training and (self.augmentations or self.mixer is not None)
        if trainer is not None and is_drawn:
            number = trainer.fit_loop.epoch_loop.batch_progress.current.ready  # so that a resumed run draws the same
            place = (self.seed, trainer.current_epoch, number, trainer.global_rank)
            draws = self._generator.manual_seed(hash(place) & (2**63 - 1))
            for augmentation in self.augmentations:
                images = augmentation(images, draws)
        images = self.to_input(images)
        if is_drawn and self.mixer is not None:
            transforms.seed(draws)
            images, labels = self.mixer(images, labels)
        if trainer is not None:
            images = images.to(trainer.lightning_module.dtype)  # float32, unless all weights are of another
        return images, labels

    def to_input(self, images: Tensor) -> Tensor:
        """What the network is fed for stored images, without augmentation; shapes as above."""
        if self.mean is None or self.std is None:
            raise InputError("data.mean=null: it is measured in training only; give data.mean and data.std")
        images = images.expand(-1, max(images.shape[1], len(self.mean)), -1, -1)  # a grey one, by means of colours
        images = transforms.resize(transforms.to_float(images, self.mean, self.std), self.resize)
        return images if images.shape[1] == self.in_channels else images.expand(-1, self.in_channels, -1, -1)
