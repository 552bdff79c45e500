"""Averages of the weights: exponential moving, and stochastic weight averaging (Izmailov et al. 2018)."""

from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import EMAWeightAveraging, WeightAveraging

from imgclf.errors import InputError


class ExponentialMovingAverage(EMAWeightAveraging):
    """As Lightning's, where until the first update the average is the network itself, not what it began as."""

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._follow(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._follow(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._follow(pl_module)
        super().on_train_end(trainer, pl_module)

    def _follow(self, pl_module: LightningModule) -> None:
        mean = self._average_model
        if mean is not None and int(mean.n_averaged) == 0:
            mean.update_parameters(pl_module)  # an update of nothing copies
            mean.n_averaged.zero_()


class StochasticWeightAveraging(WeightAveraging):
    """The equal mean of the weights at the end of each epoch from ``start_epoch`` on.

    Lightning's :class:`WeightAveraging` keeps the mean, validates and tests with it, and puts it into checkpoints;
    this class says when. Until ``start_epoch`` the "mean" is the network itself, so that validation shows what is being
    trained. Statistics of batch normalisation are averaged like weights, instead of being measured again in
    another pass over the data.

    It leaves the learning rate to the schedule. The paper averages at a constant or cyclic rate; under one that falls
    to zero the last epochs differ little and so does their mean.

    Args:
        start_epoch: first epoch, from 0, whose weights count.

    Raises:
        InputError: ``start_epoch`` is negative, or the run ends before it.
    """

    def __init__(self, start_epoch: int) -> None:
        super().__init__()
        if start_epoch < 0:
            raise InputError(f"callbacks.swa.start_epoch must be at least 0, got {start_epoch}")
        self.start_epoch = start_epoch

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= self.start_epoch:
            raise InputError(
                f"callbacks.swa.start_epoch={self.start_epoch}, but the run ends after trainer.max_epochs="
                f"{trainer.max_epochs} epochs, so nothing would be averaged: start earlier or train longer"
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # With the last batch, not at the epoch's end, which comes after validation.
        if not trainer.is_last_batch:
            return
        mean = self._average_model
        assert mean is not None
        if trainer.current_epoch <= self.start_epoch:
            mean.n_averaged = torch.zeros_like(mean.n_averaged)  # an update of nothing copies
        mean.update_parameters(pl_module)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return False  # on_train_batch_end does it all
