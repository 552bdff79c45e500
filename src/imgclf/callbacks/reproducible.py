"""What makes a run repeatable: the same draws wherever it is resumed, one network in all processes."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer


class StepSeed(Callback):
    """Seed torch before each training step from (seed, epoch, batch, process).

    Dropout and other draws in a step then do not depend on what ran before it: a resumed run continues with the
    same numbers, and switching pictures or another validation on changes nothing. It takes some 2 microseconds
    a step on a processor.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        number = hash((self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)) & (2**63 - 1)
        # Not torch.manual_seed, which takes 50 times as long to record a stack trace for devices yet to start.
        torch.default_generator.manual_seed(number)
        if pl_module.device.type in ("cuda", "mps"):
            getattr(torch, pl_module.device.type).manual_seed(number)


class OneNetwork(Callback):
    """Give every process the first one's buffers before validation and test, which are those that checkpoints keep.

    Weights are the same in all processes of a DDP run, but each measures the statistics of batch normalisation on its
    own part of the batches, until DDP hands out the first one's with the next training step. Without this, what is
    reported would be of as many networks as there are processes, and of none that a checkpoint gives back. Has to come
    after callbacks that validate other weights than those trained, such as their mean.
    """

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for buffer in pl_module.buffers() if trainer.world_size > 1 else ():
            torch.distributed.broadcast(buffer, src=0)

    on_test_epoch_start = on_validation_epoch_start
