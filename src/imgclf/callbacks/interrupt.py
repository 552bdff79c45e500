"""Ctrl-C, SIGTERM and the batch system's signals: finish the step, save, and stop."""

import signal
import time
from collections.abc import Collection
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from imgclf.callbacks.checkpoints import BestAndLast, can_resume_after
from imgclf.distributed import LOOK_EVERY, SECONDS_TO_STOP
from imgclf.errors import Interrupted


class StopOnSignal(Callback):
    """On SIGINT or SIGTERM let the step in progress end, save ``last.ckpt``, and raise :class:`Interrupted`.

    A signal can arrive in the middle of an optimizer's update; a checkpoint written there would hold weights of
    neither step. A second Ctrl-C, some seconds later, does not wait. Several processes ask each other every few steps,
    and all stop at the same one.

    Args:
        checkpoint: what saves; None where the run keeps no checkpoints.
        also: further signals to stop on, those of a batch system.
    """

    def __init__(self, checkpoint: BestAndLast | None, also: Collection[signal.Signals] = ()) -> None:
        self.checkpoint = checkpoint
        self.also = also
        self.signum = 0
        self._noted = 0.0
        self._looked_at = 0  # step of the last exchange
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._looked_at = trainer.global_step
        # Here and not earlier: Lightning installs handlers of its own just before.
        self._previous = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM, *self.also)}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        first = self.signum == 0
        if not first and signum == signal.SIGINT == self.signum and time.monotonic() - self._noted > SECONDS_TO_STOP:
            raise Interrupted(signum)
        self.signum = signum
        if first:
            self._noted = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.world_size == 1 and not self.signum:
            return
        if trainer.world_size > 1 and trainer.global_step - self._looked_at < LOOK_EVERY:
            return
        if can_resume_after(trainer) and self._agreed(trainer):
            if self.checkpoint is not None:
                self.checkpoint.save(trainer)
            raise Interrupted(self.signum)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._agreed(trainer):
            return
        if self.checkpoint is None:
            trainer.should_stop = True
        else:
            # Left to what comes after early stopping, and can tell its stop, which is for good, from this one.
            self.checkpoint.is_last_save = True

    def _agreed(self, trainer: Trainer) -> bool:
        if trainer.world_size == 1:
            return self.signum != 0
        self._looked_at = trainer.global_step
        # A signal reaches the processes one after the other; all stop now, and for the same one.
        noted = torch.tensor(self.signum, device=trainer.strategy.root_device)
        agreed = int(trainer.strategy.reduce(noted, reduce_op="max"))
        if agreed and not self.signum:
            self._noted = time.monotonic()  # this process's own may be about to come
        if agreed:
            self.signum = agreed
        # And where they agree on none, one that came during the exchange stays noted, for the next.
        return agreed != 0

    def raise_if_stopped(self) -> None:
        """For the caller of ``fit``, which ends quietly when the signal came with an epoch's last batch."""
        if self.signum:
            raise Interrupted(self.signum)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}
