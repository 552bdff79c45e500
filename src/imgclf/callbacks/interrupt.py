"""Ctrl-C and SIGTERM: finish the step, save, and stop."""

import signal
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from imgclf.callbacks.checkpoints import BestAndLast
from imgclf.interruption import Interrupted


class StopOnSignal(Callback):
    """On SIGINT or SIGTERM let the step in progress end, save ``last.ckpt``, and raise :class:`Interrupted`.

    A signal can arrive in the middle of an optimizer's update; a checkpoint written there would hold weights of
    neither step. A second Ctrl-C does not wait. All processes stop at the same step.

    Args:
        checkpoint: what saves; None where the run keeps no checkpoints.
    """

    def __init__(self, checkpoint: BestAndLast | None) -> None:
        self.checkpoint = checkpoint
        self.signum = 0
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Here and not earlier: Lightning installs handlers of its own just before.
        self._previous = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum == signal.SIGINT == signum:
            raise KeyboardInterrupt
        self.signum = signum

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Gradients that wait for more batches are in no checkpoint: stop after an update. And after its last batch the
        # epoch is carried through to its end, validation included.
        is_update = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if is_update and not trainer.is_last_batch and self._agreed(trainer):
            if self.checkpoint is not None:
                self.checkpoint.save(trainer)
            raise Interrupted(self.signum)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._agreed(trainer):
            trainer.should_stop = True  # BestAndLast, which comes next, saves because of it

    def _agreed(self, trainer: Trainer) -> bool:
        stop = self.signum != 0
        if trainer.world_size > 1:
            stop = trainer.strategy.reduce_boolean_decision(stop, all=False)
            if stop and not self.signum:
                self.signum = signal.SIGTERM
        return stop

    def raise_if_stopped(self) -> None:
        """For the caller of ``fit``, which ends quietly when the signal came with an epoch's last batch."""
        if self.signum:
            raise Interrupted(self.signum)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}
