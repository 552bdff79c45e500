"""The ends of a run other than its number of epochs: steps, time, a signal, a loss that is no number any more."""

import math
import signal
import threading
import time
from collections.abc import Collection
from types import FrameType
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, Timer

from imgclf.callbacks.checkpoints import BestAndLast, can_resume_after
from imgclf.callbacks.epoch_table import learning_rate
from imgclf.distributed import LOOK_EVERY, SECONDS_TO_STOP
from imgclf.errors import Diverged, Interrupted
from imgclf.run_folder import RunFolder


class Limits(Timer):
    """Asks for the end of training after so many optimizer steps, or so much time, that of a resumed run included.

    With Lightning's own ``max_steps`` the last epoch, if it is not complete, would not be validated, and would count as
    done on resuming.

    Args:
        max_steps: -1 for no such end.
        max_time: as Lightning's Trainer has it; None for no such end. Several processes look at it every few steps.
    """

    def __init__(self, max_steps: int = -1, max_time: Any = None) -> None:
        super().__init__(max_time)
        self.max_steps, self.reached = max_steps, False

    def on_fit_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Nothing, where Lightning's would look at the time, and skip training without any other hook."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._look(trainer)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        # Not between two optimizer steps, since gradients that wait are in no checkpoint.
        loop = trainer.fit_loop.epoch_loop
        if loop.batch_progress.current.ready % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch:
            self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        self.reached = 0 <= self.max_steps <= trainer.global_step
        left = self.time_remaining()
        if left is not None and (trainer.world_size == 1 or trainer.global_step % LOOK_EVERY == 0):
            self.reached |= trainer.strategy.reduce_boolean_decision(left <= 0, all=False)
        trainer.should_stop = trainer.should_stop or self.reached


class StopOnDivergence(Checkpoint):
    """Raise :class:`Diverged` at the end of the first epoch whose mean loss is infinite or not a number.

    The means, those of all processes, are on the host by then, so that looking costs nothing. By its base it comes last
    at an epoch's end: after metrics.csv has the row, and before ``last.ckpt`` and ``best.ckpt`` would be written.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, title in (("train/loss", "training"), ("val/loss", "validation")):
            loss = float(trainer.callback_metrics.get(name, 0.0))
            if not math.isfinite(loss):
                raise Diverged(f"the {title} loss became {loss} in {_where(trainer)}. {_remedy(trainer)}.")


def _where(trainer: Trainer) -> str:
    """The epoch and, as nobody has looked in between, its first and last optimizer step, all counted from 1."""
    steps = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.current.completed
    of_all = f" of {trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
    stretch = f"optimizer steps {max(1, trainer.global_step - steps + 1)} to {trainer.global_step}"
    return f"epoch {trainer.current_epoch + 1}{of_all} ({stretch}, learning rate {learning_rate(trainer):.3g})"


def _remedy(trainer: Trainer) -> str:
    folder, clip = RunFolder(trainer.default_root_dir), "trainer.gradient_clip_val=1.0"
    told = f"Lower optimizer.lr, begin with schedule.warmup_updates, or clip with {clip}"
    if str(trainer.precision).startswith("16"):
        told += "; trainer.precision=bf16-mixed or 32-true has larger numbers than 16 bits"
    return f"{told}. From before it, resume={folder.path} {clip} goes on" if folder.last.exists() else told


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
        self.checkpoint, self.also = checkpoint, also
        self.signum, self._noted = 0, 0.0
        self._looked_at = 0  # step of the last exchange
        self._previous: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._looked_at = trainer.global_step
        if threading.current_thread() is not threading.main_thread():  # where Python takes no signals
            return
        # Here and not earlier: Lightning installs handlers of its own just before.
        self._previous = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM, *self.also)}

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if signum == signal.SIGINT == self.signum and time.monotonic() - self._noted > SECONDS_TO_STOP:
            raise Interrupted(signum)
        self._noted = self._noted if self.signum else time.monotonic()
        self.signum = signum

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        is_turn = trainer.world_size > 1 and trainer.global_step - self._looked_at >= LOOK_EVERY
        is_turn = is_turn or (trainer.world_size == 1 and self.signum != 0)
        if is_turn and can_resume_after(trainer) and self._agreed(trainer):
            if self.checkpoint is not None:
                self.checkpoint.save(trainer)
            raise Interrupted(self.signum)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._agreed(trainer):
            if self.checkpoint is None:
                trainer.should_stop = True
            else:  # it comes after early stopping, and can tell its stop, which is for good, from this one
                self.checkpoint.is_last_save = True

    def _agreed(self, trainer: Trainer) -> bool:
        if trainer.world_size > 1:
            self._looked_at = trainer.global_step
            # A signal reaches the processes one after the other; all stop now, and for the same one.
            noted = torch.tensor(self.signum, device=trainer.strategy.root_device)
            agreed = int(trainer.strategy.reduce(noted, reduce_op="max"))
            if not agreed:
                return False  # one that came during the exchange stays noted, for the next
            self._noted = self._noted if self.signum else time.monotonic()  # this process's own may be about to come
            self.signum = agreed
        return self.signum != 0

    def raise_if_stopped(self) -> None:
        """For the caller of ``fit``, which ends quietly when the signal came with an epoch's last batch."""
        if self.signum:
            raise Interrupted(self.signum)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous = {}
