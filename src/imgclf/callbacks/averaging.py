"""Averages of the weights: exponential moving, and stochastic weight averaging (Izmailov et al. 2018)."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn, get_swa_multi_avg_fn

from imgclf.errors import InputError
from imgclf.models.classifier import Classifier
from imgclf.ranges import AtLeast0, Fraction

log = logging.getLogger(__name__)


class Averaging(WeightAveraging):
    """Lightning's :class:`WeightAveraging`, which validates, tests and keeps the mean, on the network's own device.

    Statistics of batch normalisation are averaged like weights.

    Args:
        average: one update of a list of means in place, of a list of weights, after so many others.
    """

    def __init__(self, average: Callable[[Any, Any, int], None]) -> None:
        def update(means: Any, weights: Any, _: Any) -> None:  # the count, which is handed over on the GPU
            if means[0].is_floating_point():
                average(means, weights, int(self._average_model.n_averaged))  # type: ignore[union-attr]
            else:  # counts, and positions that a network looks up, have no mean
                for mean, weight in zip(means, weights, strict=True):
                    mean.copy_(weight)

        super().__init__(multi_avg_fn=update)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.dtype != torch.float32:
            told = f"trainer.precision={trainer.precision}: a mean of weights needs their 32 bits"
            raise InputError(f"{told}, give trainer.precision=32-true or bf16-mixed")
        assert self._average_model is not None
        self._average_model.to(pl_module.device)  # Lightning copies the network before it is there
        if isinstance(pl_module, Classifier):  # lies in memory as the network: else each of its tensors is worked alone
            self._average_model.module.net.to(memory_format=pl_module.memory_format)
        self._average_model.n_averaged = self._average_model.n_averaged.cpu()  # for fewer waits for a GPU


class ExponentialMovingAverage(Averaging):
    """mean <- d * mean + (1 - d) * weights, where d grows to ``decay`` with the updates u done, as (1 + u) / (10 + u).

    So the first weights are soon forgotten, as with the moving averages of TensorFlow and timm.

    Args:
        decay: from 0 to 1.
    """

    def __init__(self, decay: Fraction) -> None:
        self.decay = decay
        super().__init__(self.average)

    def average(self, means: Any, weights: Any, updates: int) -> None:
        """One update in place, after so many others."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        get_ema_multi_avg_fn(decay)(means, weights, updates)  # type: ignore[no-untyped-call]


class StochasticWeightAveraging(Averaging):
    """The equal mean of the weights at the end of each epoch from ``start_epoch`` on.

    It leaves the learning rate to the schedule. The paper averages at a constant or cyclic rate; under one that falls
    to zero the last epochs differ little and so does their mean.

    Args:
        start_epoch: first epoch, from 0, whose weights count. Until then the network itself is validated and kept.
    """

    def __init__(self, start_epoch: AtLeast0) -> None:
        super().__init__(get_swa_multi_avg_fn())  # type: ignore[no-untyped-call]
        self.start_epoch = start_epoch

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.max_epochs is not None and 0 <= trainer.max_epochs <= self.start_epoch:
            ends = f"the run ends after trainer.max_epochs={trainer.max_epochs}"
            raise InputError(f"callbacks.swa.start_epoch={self.start_epoch}, but {ends}: start earlier or train longer")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch <= self.start_epoch:
            log.warning(f"callbacks.swa.start_epoch={self.start_epoch}: the run ended before, nothing was averaged")
        super().on_train_end(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        mean = self._average_model  # private, as Lightning has no other way to its mean
        assert mean is not None
        is_alone = trainer.current_epoch <= self.start_epoch
        if is_alone:
            mean.n_averaged.zero_()  # an update of nothing copies
        if is_alone or trainer.is_last_batch:  # not at the epoch's end, which comes after validation
            mean.update_parameters(pl_module)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return False  # on_train_batch_end does it all
