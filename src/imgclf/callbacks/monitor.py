"""Beside loss and accuracy: curves within an epoch, speed, memory, weights."""

import math
import re
import sys
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import TensorBoardLogger
from torch.optim import Optimizer

from imgclf.callbacks.loggers import last_step, log_scalars, pages, shows
from imgclf.models.classifier import Classifier
from imgclf.ranges import AtLeast1

_STATUS = Path("/proc/self/status")
_BINS = 64  # of a histogram, of equal width, from the least value to the greatest


class Throughput(Callback):
    """Count the training images of all processes and the seconds that training on them took.

    Validation, checkpoints and pictures between epochs do not count. Each epoch's rate is logged as
    ``images_per_second``; the counts survive resuming.
    """

    def __init__(self) -> None:
        self.images, self.seconds = 0, 0.0
        self._before = (0, 0.0)  # the epoch in progress
        self._start: float | None = None  # of the stretch in progress, which ends where validation begins

    @property
    def images_per_second(self) -> float:
        """Mean over the run so far; not a number before the first epoch has ended."""
        return self.images / self.seconds if self.seconds else math.nan

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._before = (self.images, self.seconds)

    on_train_epoch_start = on_train_start

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._start is None:
            self._start = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self.images += len(batch[1]) * trainer.world_size

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._start is not None:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize(pl_module.device)  # queued work is not done work
            self.seconds += time.perf_counter() - self._start
            self._start = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.on_validation_start(trainer, pl_module)
        if isinstance(pl_module, Classifier):
            pl_module.publish_train()  # of an epoch that ends before its last batch; others come after this one
        images, seconds = self.images - self._before[0], self.seconds - self._before[1]
        if seconds > 0:
            pl_module.log("images_per_second", images / seconds, on_epoch=True, batch_size=1, sync_dist=True)

    def state_dict(self) -> dict[str, Any]:
        running = 0.0 if self._start is None else time.perf_counter() - self._start
        return {"images": self.images, "seconds": self.seconds + running}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.images, self.seconds = state_dict["images"], state_dict["seconds"]


class StepScalars(Callback):
    """Every ``trainer.log_every_n_steps`` steps of an epoch: mean loss and accuracy since the point before, and the
    Euclidean norm of the gradient of all parameters, before any clipping; the norm also at an epoch's last step.

    A resumed run goes on as if it had not been stopped. Where the network is no :class:`Classifier`, the norm alone is
    written.
    """

    def __init__(self) -> None:
        self._epoch, self._sums = -1, torch.zeros(3)  # at the last point: loss, right, images

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        # Here for both, since every hook takes time at every step: the step's own images have been counted by now.
        every: int = trainer.log_every_n_steps * trainer.accumulate_grad_batches  # type: ignore[attr-defined]
        is_point = trainer.fit_loop.epoch_loop.batch_progress.current.ready % (every or sys.maxsize) == 0
        if not (is_point or trainer.is_last_batch) or not shows(trainer):
            return
        # After averaging over the processes the gradient is the same in each.
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        found = {"gradient/norm": float(torch.nn.utils.get_total_norm(gradients))} if gradients else {}
        if is_point and isinstance(pl_module, Classifier):
            totals = pl_module.totals["train"]
            sums = torch.stack([totals.loss_sum, totals.correct, totals.count.float()])
            sums = trainer.strategy.reduce(sums, reduce_op="sum").cpu()
            loss, right, images = (sums - self._sums if self._epoch == trainer.current_epoch else sums).tolist()
            if images:  # none where a step of one's own does not count them
                found |= {"train/loss_step": loss / images, "train/acc_step": right / images}
            self._epoch, self._sums = trainer.current_epoch, sums
        log_scalars(trainer, found, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "sums": self._sums}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._epoch, self._sums = state_dict["epoch"], state_dict["sums"].cpu()


class Memory(Callback):
    """At the end of each epoch, in MiB: what the first process holds, and the most that its GPU held in the epoch.

    Pages of mapped files do not count; the process's memory is known on Linux only.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found = {}
        if _STATUS.exists() and (own := re.search(r"RssAnon:\s+(\d+) kB", _STATUS.read_text())):
            found["memory/process_MB"] = int(own[1]) / 1024
        if pl_module.device.type == "cuda":
            found["memory/gpu_MB"] = torch.cuda.max_memory_allocated(pl_module.device) / 2**20
        log_scalars(trainer, found, last_step(trainer))


class Histograms(Callback):
    """Every n-th epoch, at its last step: each parameter, and its gradient before any clipping.

    Values that are no finite numbers are left out.

    Args:
        every_n_epochs: how often; the last epoch that the run is configured for always.
    """

    def __init__(self, every_n_epochs: AtLeast1) -> None:
        self.every_n_epochs = every_n_epochs

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        epoch, step = trainer.current_epoch + 1, trainer.global_step
        if not trainer.is_last_batch or (epoch % self.every_n_epochs and epoch != trainer.max_epochs):
            return
        for writer in [page.experiment for page in pages(trainer) if isinstance(page, TensorBoardLogger)]:
            for name, parameter in pl_module.named_parameters():
                for kind, tensor in (("weights", parameter.detach()), ("gradients", parameter.grad)):
                    if tensor is not None and len(finite := tensor[tensor.isfinite()].float().cpu()):
                        writer.add_histogram(f"{kind}/{name.removeprefix('net.')}", finite, step, bins=_BINS)
