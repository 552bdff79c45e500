"""Which images form which batch: an order that is a function of (seed, epoch), split over processes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from imgclf.errors import InputError


class ImageArray(Dataset[tuple[Tensor, Tensor]]):
    """Images that lie in memory (or in a memory map), handed out a whole batch at a time.

    Args:
        images: uint8 (n, c, h, w).
        labels: int64 (n,).
        chosen: int64, the positions that belong to this set; None for all.
    """

    def __init__(self, images: Tensor, labels: Tensor, chosen: Tensor | None = None) -> None:
        self.images = images
        self.labels = labels
        self.chosen = chosen

    def __len__(self) -> int:
        return len(self.labels if self.chosen is None else self.chosen)

    def part(self, positions: NDArray[np.int64]) -> "ImageArray":
        """The images at some positions, int64 (m,); nothing is copied."""
        assert self.chosen is None
        return ImageArray(self.images, self.labels, torch.from_numpy(positions))

    def on(self, device: torch.device) -> "ImageArray":
        """The same set with the images it needs in the memory of a device."""
        if self.chosen is None:
            return ImageArray(self.images.to(device), self.labels.to(device))
        return ImageArray(self.images[self.chosen].to(device), self.labels[self.chosen].to(device))

    @property
    def nbytes(self) -> int:
        """Bytes of the set's own images."""
        return len(self) * self.images[0].numel() * self.images.element_size()

    def __getitem__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Positions int64 (b,) -> images uint8 (b, c, h, w), labels int64 (b,)."""
        positions = positions.to(self.images.device, non_blocking=True)
        if self.chosen is not None:
            positions = self.chosen[positions]
        return self.images.index_select(0, positions), self.labels.index_select(0, positions)


class TrainBatches(Sampler[Tensor]):
    """Batches of positions for one epoch of training.

    Every process draws the same order and takes its own part of each batch, so that the batches, and with them the
    weights, do not depend on how many processes share the work.

    Args:
        count: number of images.
        batch_size: images a batch over all processes; divisible by ``world_size``.
        seed: the order is a function of (seed, epoch).
        shuffle: False keeps the images in their order.
        drop_last: leave a smaller last batch out.
        rank: this process, from 0.
        world_size: number of processes. Of a smaller last batch, the up to ``world_size - 1`` images that cannot
            be shared equally are left out of this epoch.

    Raises:
        InputError: the batch cannot be shared equally, or there are not enough images for one batch.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        seed: int,
        shuffle: bool = True,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size % world_size:
            raise InputError(
                f"data.batch_size={batch_size} is the batch over all processes and cannot be shared equally by "
                f"{world_size}: choose a multiple of {world_size}"
            )
        if count < (batch_size if drop_last else world_size):
            raise InputError(
                f"{count} training images do not fill one batch of data.batch_size={batch_size} over {world_size} "
                f"process(es): choose a batch size of at most {count}"
            )
        self.count = count
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self._resume_at = (-1, 0)

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the start of each epoch."""
        self.epoch = epoch

    def resume_at(self, epoch: int, batch: int) -> None:
        """Begin epoch ``epoch``, when it comes, with its batch number ``batch``."""
        self._resume_at = (epoch, batch)

    @property
    def first_batch(self) -> int:
        """Number of the batch with which the epoch begins: 0 unless it is resumed in its middle."""
        epoch, batch = self._resume_at
        return batch if epoch == self.epoch else 0

    def __len__(self) -> int:
        full, rest = divmod(self.count, self.batch_size)
        return full + (not self.drop_last and rest >= self.world_size)

    def __iter__(self) -> Iterator[Tensor]:
        if self.shuffle:
            # A tuple's hash mixes its integers well and is the same in every process and Python version.
            generator = torch.Generator().manual_seed(hash((self.seed, self.epoch)) & (2**63 - 1))
            order = torch.randperm(self.count, generator=generator)
        else:
            order = torch.arange(self.count)
        for number in range(self.first_batch, len(self)):
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            share = len(batch) // self.world_size
            yield batch[self.rank * share : (self.rank + 1) * share]


class EvalBatches(Sampler[Tensor]):
    """Every image exactly once and in order: process r of w takes the r-th of w equal stretches.

    Lightning's own sampler pads the last stretch with repeated images, which biases what is measured.

    Args:
        count: number of images, at least ``world_size``.
        batch_size: images a batch over all processes.
        rank: this process, from 0.
        world_size: number of processes.
    """

    def __init__(self, count: int, batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        if count < world_size:
            raise InputError(f"{count} images cannot be shared by {world_size} processes: use fewer devices")
        self.begin = count * rank // world_size
        self.end = count * (rank + 1) // world_size
        self.share = max(1, batch_size // world_size)

    def __len__(self) -> int:
        return -(-(self.end - self.begin) // self.share)

    def __iter__(self) -> Iterator[Tensor]:
        for start in range(self.begin, self.end, self.share):
            yield torch.arange(start, min(start + self.share, self.end))


class BatchLoader(DataLoader[tuple[Tensor, Tensor]]):
    """An ordinary DataLoader whose sampler gives whole batches; ``pin`` for those that go to a GPU."""

    def __init__(
        self, images: ImageArray, batches: TrainBatches | EvalBatches, num_workers: int = 0, *, pin: bool = False
    ) -> None:
        super().__init__(
            images,
            sampler=batches,
            batch_size=None,  # the sampler's items are whole batches already
            collate_fn=_as_it_is,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=pin and images.images.device.type == "cpu",
        )


class PlainBatches:
    """The batches of a loader and nothing else of it.

    For prediction Lightning rebuilds any DataLoader around a batch sampler of its own; what is none it leaves alone.
    """

    def __init__(self, loader: BatchLoader) -> None:
        self.loader = loader

    @property
    def image_count(self) -> int:
        """Images in all batches of this process."""
        batches = self.loader.sampler
        assert isinstance(batches, EvalBatches)
        return batches.end - batches.begin

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.loader)


class TrainLoader(BatchLoader):
    """A loader that can start in the middle of an epoch.

    Lightning stores ``state_dict`` in each checkpoint and hands it back on resuming.
    """

    sampler: TrainBatches

    def __init__(self, images: ImageArray, batches: TrainBatches, num_workers: int = 0, *, pin: bool = False) -> None:
        super().__init__(images, batches, num_workers, pin=pin)
        self.handed_out = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        # A generator, so that nothing is drawn before the first batch is asked for: Lightning makes the iterator
        # before it sets the epoch.
        self.handed_out = self.sampler.first_batch
        for batch in super().__iter__():
            self.handed_out += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch in progress and how many of its batches have been handed out."""
        return {"epoch": self.sampler.epoch, "batches": self.handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start that epoch after that many batches; other epochs start at their beginning."""
        self.sampler.resume_at(state["epoch"], state["batches"])


def _as_it_is(batch: Any) -> Any:
    return batch
