"""How weights and gradients are distributed."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from imgclf.callbacks.board import checked_every, writers
from imgclf.errors import InputError

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


class Histograms(Callback):
    """Every n-th epoch, at its last step: each parameter, and its gradient before any clipping.

    Values that are no finite numbers are left out of the histogram and counted in ``not_finite/NAME``.

    Args:
        bins: of equal width, from the least value to the greatest.
        every_n_epochs: how often; the last epoch that the run is configured for always.

    Raises:
        InputError: a number is below 1.
    """

    def __init__(self, bins: int, every_n_epochs: int) -> None:
        self.every_n_epochs = checked_every("histograms", every_n_epochs)
        if bins < 1:
            raise InputError(f"callbacks.histograms.bins must be at least 1, got {bins}")
        self.bins = bins

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        if not trainer.is_last_batch:
            return
        epoch = trainer.current_epoch + 1
        if epoch % self.every_n_epochs == 0 or epoch == trainer.max_epochs:
            parameters = list(pl_module.named_parameters())
            self._write(trainer, "weights", ((name, p) for name, p in parameters))
            self._write(trainer, "gradients", ((name, p.grad) for name, p in parameters if p.grad is not None))

    def _write(self, trainer: Trainer, kind: str, tensors: Iterable[tuple[str, Tensor]]) -> None:
        for writer in writers(trainer):
            step = trainer.global_step
            for name, tensor in tensors:
                values = tensor.detach().to("cpu", torch.float32).numpy().ravel()
                finite = values[np.isfinite(values)]
                tag = f"{kind}/{name.removeprefix('net.')}"
                if len(finite):
                    counts, edges = np.histogram(finite, self.bins)
                    _add(writer, tag, finite.astype(np.float64), counts, edges, step)
                if len(finite) < len(values):
                    writer.add_scalar(f"not_finite/{tag}", len(values) - len(finite), step)


def _add(
    writer: "SummaryWriter",
    tag: str,
    values: NDArray[np.float64],
    counts: NDArray[np.int64],
    edges: NDArray[np.floating],
    step: int,
) -> None:
    writer.add_histogram_raw(
        tag,
        min=float(values.min()),
        max=float(values.max()),
        num=len(values),
        sum=float(values.sum()),
        sum_squares=float(np.square(values).sum()),
        bucket_limits=edges[1:].tolist(),
        bucket_counts=counts.tolist(),
        global_step=step,
    )
