"""Loss, accuracy and length of the gradient within an epoch."""

import sys
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from imgclf.callbacks.board import log_scalars, shows
from imgclf.models.classifier import Classifier

_KEY = "step_scalars"


class StepScalars(Callback):
    """Every ``trainer.log_every_n_steps`` steps of an epoch: mean loss and accuracy since the point before, and the
    Euclidean norm of the gradient of all parameters, before any clipping; the norm also at an epoch's last step.

    Nothing is read from the device before the epoch's end or a checkpoint. A resumed run goes on as if it had not been
    stopped. Where the network is no :class:`Classifier`, the norm alone is written.
    """

    def __init__(self) -> None:
        self._batches = sys.maxsize  # from one point to the next
        self._writes = False
        self._norms: list[tuple[int, Tensor]] = []
        self._sums: list[tuple[int, Tensor]] = []  # running sums of the epoch: loss, right, images; float32 (3,)
        self._before: tuple[int, Tensor] = (-1, torch.zeros(3))  # epoch, sums at the last point

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        every_n_steps: int = trainer.log_every_n_steps  # type: ignore[attr-defined]  # 0: nothing by steps
        self._batches = every_n_steps * trainer.accumulate_grad_batches or sys.maxsize
        self._writes = shows(trainer)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        # Here for both, since every hook takes time at every step: the step's own images have been counted by now.
        is_end = trainer.fit_loop.epoch_loop.batch_progress.current.ready % self._batches == 0
        if not (is_end or trainer.is_last_batch) or not self._writes:
            return
        gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if gradients:
            self._norms.append((trainer.global_step, torch.nn.utils.get_total_norm(gradients)))
        if is_end and isinstance(pl_module, Classifier):
            totals = pl_module.stage_totals("train")
            sums = torch.stack([totals.loss_sum, totals.correct, totals.count.float()])
            self._sums.append((trainer.global_step, sums))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._write(trainer)
        epoch, sums = self._before
        checkpoint[_KEY] = {"epoch": epoch, "sums": sums}

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if _KEY in checkpoint:
            self._before = (checkpoint[_KEY]["epoch"], checkpoint[_KEY]["sums"].cpu())

    def _write(self, trainer: Trainer) -> None:
        if self._norms:
            # After averaging over the processes the gradient is the same in each.
            lengths = torch.stack([norm for _, norm in self._norms]).tolist()
            for (step, _), length in zip(self._norms, lengths, strict=True):
                log_scalars(trainer, {"gradient/norm": length}, step)
        if self._sums:
            self._write_means(trainer)
        self._norms, self._sums = [], []

    def _write_means(self, trainer: Trainer) -> None:
        sums = torch.stack([sums for _, sums in self._sums])
        if trainer.world_size > 1:
            sums = trainer.strategy.reduce(sums, reduce_op="sum")
        sums = sums.cpu()
        epoch, before = self._before
        begin = before if epoch == trainer.current_epoch else torch.zeros_like(before)
        stretches = torch.diff(sums, dim=0, prepend=begin[None])
        for (step, _), (loss, right, images) in zip(self._sums, stretches.tolist(), strict=True):
            log_scalars(trainer, {"train/loss_step": loss / images, "train/acc_step": right / images}, step)
        self._before = (trainer.current_epoch, sums[-1])
