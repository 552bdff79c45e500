"""Images in memory, and which of them form which batch: an order by (seed, epoch), split over processes."""

import hashlib
import signal
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from imgclf.errors import InputError

WHOLE_BYTES = 64 * 2**20  # images that take more have a digest of some of them
SAMPLED_IMAGES = 4096


@dataclass(frozen=True, eq=False)
class ImageArray(Dataset[tuple[Tensor, Tensor]]):
    """Images that lie in memory (or in a memory map), handed out a whole batch at a time.

    Args:
        images: uint8 (n, c, h, w).
        labels: int64 (n,).
        chosen: int64, the positions that belong to this set; None for all.
        sums: float64 (n, 2, c), see :func:`sums_of`, where they are known.
        files: digest of the files' names, sizes and times of change, where there are such.
    """

    images: Tensor
    labels: Tensor
    chosen: Tensor | None = None
    sums: Tensor | None = None
    files: str | None = None

    def __len__(self) -> int:
        return len(self.labels if self.chosen is None else self.chosen)

    def __getitem__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Positions int64 (b,) -> images uint8 (b, c, h, w), labels int64 (b,)."""
        positions = positions.to(self.images.device, non_blocking=True)
        if self.chosen is not None:
            positions = self.chosen[positions]
        return self.images.index_select(0, positions), self.labels.index_select(0, positions)

    def part(self, positions: NDArray[np.int64]) -> "ImageArray":
        """The images at some positions, int64 (m,); nothing is copied."""
        assert self.chosen is None
        return replace(self, chosen=torch.from_numpy(positions))

    def on(self, device: torch.device) -> "ImageArray":
        """The same set with the images it needs in the memory of a device."""
        own = torch.arange(len(self.images)) if self.chosen is None else self.chosen
        images = torch.empty((len(own), *self.images.shape[1:]), dtype=self.images.dtype, device=device)  # the one copy
        for part, positions in zip(torch.split(images, 1024), torch.split(own, 1024), strict=True):
            part.copy_(self.images[positions])
        return ImageArray(images, self.labels[own].to(device))

    def mean_and_std(self) -> tuple[list[float], list[float]]:
        """By channel, of the pixels in [0, 1], to four digits; pixels are read only where their sums are not known."""
        sums = torch.cat([sums_of(part) for part in torch.split(self.images, 64)]) if self.sums is None else self.sums
        own = sums if self.chosen is None else sums[self.chosen]
        mean, square = own.sum(0) / (len(self) * self.images[0, 0].numel())
        std = (square - mean**2).clamp(min=1e-6).sqrt()
        return [round(m, 4) for m in mean.tolist()], [round(s, 4) for s in std.tolist()]

    def fingerprint(self) -> dict[str, Any]:
        """Whether two runs saw the same images, for run.json.

        Returns:
            ``images`` [n, c, h, w], ``type``, ``files``, and a ``digest`` (BLAKE2b, 16 hexadecimal digits) of all
            labels and the pixels ``of`` so many images: of all where they take at most 64 MiB, a tenth of a second's
            work; else of 4,096 evenly spaced ones, so that memory-mapped files need not be read as a whole.
        """
        count = len(self.images)
        places = torch.arange(count)
        if self.images.numel() > WHOLE_BYTES and count > SAMPLED_IMAGES:
            # In whole numbers: the same positions on every machine, the first and the last among them.
            places = torch.arange(SAMPLED_IMAGES) * (count - 1) // (SAMPLED_IMAGES - 1)
        digest = hashlib.blake2b(digest_size=8)
        for tensor, own in ((self.images, places), (self.labels, torch.arange(count))):
            digest.update(f"{tensor.dtype} {[len(own), *tensor.shape[1:]]}".encode())
            for part in torch.split(own, 64):  # a few at a time: they may be large, and mapped from a file
                digest.update(tensor[part].numpy().data)
        kind = str(self.images.dtype).removeprefix("torch.")
        about: dict[str, Any] = {"images": list(self.images.shape), "type": kind}
        about |= {"digest": digest.hexdigest(), "of": len(places)}
        return about | ({"files": self.files} if self.files else {})


def sums_of(images: Tensor) -> Tensor:
    """Of each of the images uint8 (n, c, h, w) the sums of its values in [0, 1] and of their squares, (n, 2, c)."""
    values = images.double() / 255
    return torch.stack([values.sum((2, 3)), (values**2).sum((2, 3))], dim=1)


def as_tensors(images: NDArray[np.uint8], labels: NDArray[np.int64], **about: Any) -> ImageArray:
    """Wrap numpy arrays, uint8 (n, c, h, w) and int64 (n,), without copying them."""
    with warnings.catch_warnings():
        # torch has no read-only tensors and warns that a memory map must not be written to; nothing here writes.
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return ImageArray(torch.from_numpy(images), torch.from_numpy(labels), **about)


@dataclass(eq=False)
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
        balanced: int64 (count,), labels: images are drawn so that all classes come equally often; None: each once.
        rank: this process, from 0.
        world_size: number of processes. Of a smaller last batch, up to ``world_size - 1`` images are left out.
    """

    count: int
    batch_size: int
    seed: int
    shuffle: bool = True
    drop_last: bool = False
    balanced: Tensor | None = None
    rank: int = 0
    world_size: int = 1
    epoch: int = field(default=0, init=False)
    resume_at: tuple[int, int] = field(default=(-1, 0), init=False)  # an epoch, and the batch with which it begins

    def __post_init__(self) -> None:
        size, count, shares = self.batch_size, self.count, self.world_size
        if size % shares:
            raise InputError(f"data.batch_size={size} is shared by {shares} processes: choose a multiple of {shares}")
        if size > count:
            raise InputError(f"data.batch_size={size}, but there are {count} training images: choose at most {count}")

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the start of each epoch."""
        self.epoch = epoch

    @property
    def first_batch(self) -> int:
        """Number of the batch with which the epoch begins: 0 unless it is resumed in its middle."""
        epoch, batch = self.resume_at
        return batch if epoch == self.epoch else 0

    def __len__(self) -> int:
        full, rest = divmod(self.count, self.batch_size)
        return full + (not self.drop_last and rest >= self.world_size)

    def __iter__(self) -> Iterator[Tensor]:
        # A tuple's hash mixes its integers well and is the same in every process and Python version.
        generator = torch.Generator().manual_seed(hash((self.seed, self.epoch)) & (2**63 - 1))
        if self.balanced is not None:
            shares = 1 / torch.bincount(self.balanced)[self.balanced].double()
            order = torch.multinomial(shares, self.count, replacement=True, generator=generator)
        elif self.shuffle:
            order = torch.randperm(self.count, generator=generator)
        else:
            order = torch.arange(self.count)
        for batch in torch.split(order, self.batch_size)[self.first_batch : len(self)]:
            share = len(batch) // self.world_size
            yield batch[self.rank * share : (self.rank + 1) * share]


def eval_batches(count: int, batch_size: int, *, rank: int = 0, world_size: int = 1) -> tuple[Tensor, ...]:
    """Every image exactly once and in order: process r of w takes the r-th of w equal stretches.

    Lightning's own sampler pads the last stretch with repeated images, which biases what is measured.

    Args:
        count: number of images, at least ``world_size``.
        batch_size: images a batch over all processes.
        rank: this process, from 0.
        world_size: number of processes.
    """
    if count < world_size:
        raise InputError(f"{count} images cannot be shared by {world_size} processes: use fewer devices")
    own = torch.arange(count * rank // world_size, count * (rank + 1) // world_size)
    return torch.split(own, max(1, batch_size // world_size))


Batches = TrainBatches | tuple[Tensor, ...]


def leave_interrupts(_: int) -> None:
    """For a loader's process: Ctrl-C in a terminal reaches it, too, but is for the main process to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class BatchLoader:
    """Whole batches of images uint8 (b, c, h, w) and labels int64 (b,), from torch's DataLoader.

    It holds one and is none, so that Lightning does not build it anew around a sampler of its own. Lightning stores
    ``state_dict`` in each checkpoint and hands it back on resuming, so an epoch of training goes on in its middle.

    Args:
        images: the set.
        sampler: positions of each batch.
        num_workers: processes that gather batches ahead.
        pin: for batches that go to a GPU.
    """

    def __init__(self, images: ImageArray, sampler: Batches, num_workers: int = 0, *, pin: bool = False) -> None:
        self.sampler, self.batch_sampler = sampler, None  # Lightning asks for both
        self.handed_out = 0
        self.loader = DataLoader(
            images,
            sampler=sampler,
            batch_size=None,  # the sampler's items are whole batches already
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            worker_init_fn=leave_interrupts,
            pin_memory=pin and images.images.device.type == "cpu",
        )

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # A generator, which draws nothing at first: Lightning makes the iterator before it sets the epoch.
        self.handed_out = getattr(self.sampler, "first_batch", 0)
        for batch in self.loader:
            self.handed_out += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch in progress and how many of its batches have been handed out."""
        return {"epoch": getattr(self.sampler, "epoch", 0), "batches": self.handed_out}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Start that epoch after that many batches; other epochs start at their beginning."""
        if isinstance(self.sampler, TrainBatches):
            self.sampler.resume_at = (state["epoch"], state["batches"])
