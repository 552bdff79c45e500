"""Several processes validate one network."""

import torch
from pytorch_lightning import Callback, LightningModule, Trainer


class OneNetwork(Callback):
    """Give every process the first one's buffers before validation and test, which are those that checkpoints keep.

    Weights are the same in all processes of a DDP run, but each measures the statistics of batch normalisation on its
    own part of the batches, until DDP hands out the first one's with the next training step. Without this, what is
    reported would be of as many networks as there are processes, and of none that a checkpoint gives back. Has to come
    after callbacks that validate other weights than those trained, such as their mean.
    """

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:
            for buffer in pl_module.buffers():
                torch.distributed.broadcast(buffer, src=0)

    on_test_epoch_start = on_validation_epoch_start
