"""The ends of a run other than its number of epochs: steps, time, a signal, a loss that is no number any more."""

import math
import shlex
import signal
import time
from types import FrameType
from typing import Any

import pytorch_lightning.callbacks
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, Timer

from imgclf.callbacks.checkpoints import BestAndLast, can_resume_after
from imgclf.callbacks.epoch_table import learning_rate
from imgclf.distributed import LOOK_EVERY, SECONDS_TO_STOP, stop_signals
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
        self.max_steps = max_steps

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
        reached = 0 <= self.max_steps <= trainer.global_step
        left = self.time_remaining()
        if left is not None and (trainer.world_size == 1 or trainer.global_step % LOOK_EVERY == 0):
            reached |= trainer.strategy.reduce_boolean_decision(left <= 0, all=False)
        trainer.is_at_limit = reached or getattr(trainer, "is_at_limit", False)  # type: ignore[attr-defined]
        trainer.should_stop = trainer.should_stop or reached


class EarlyStopping(pytorch_lightning.callbacks.EarlyStopping):
    """As Lightning's, but it looks at a figure of training when there is one, at an epoch's end, and a resumed run has
    the patience that it is given."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.monitor.startswith("train/"):
            self._check_on_train_epoch_end = True
        super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict | {"patience": self.patience})


class StopOnDivergence(Checkpoint):
    """Raise :class:`Diverged` at the end of the first epoch whose mean loss is infinite or not a number.

    The means, those of all processes, are on the host by then, so that looking costs nothing. By its base it comes last
    at an epoch's end: after metrics.csv has the row, and before ``last.ckpt`` and ``best.ckpt`` would be written.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, title in (("train/loss", "training"), ("val/loss", "validation")):
            loss = float(trainer.callback_metrics.get(name, 0.0))
            if not math.isfinite(loss):
                folder, rate = RunFolder(trainer.default_root_dir), learning_rate(trainer)
                told = f"the {title} loss became {loss} in epoch {trainer.current_epoch + 1} (learning rate {rate:.3g})"
                remedy = "Lower optimizer.lr, begin with schedule.warmup_updates, or give trainer.gradient_clip_val=1.0"
                if str(trainer.precision).startswith("16"):
                    remedy += "; trainer.precision=bf16-mixed or 32-true has larger numbers than 16 bits"
                if folder.last.exists():
                    again = f"{shlex.quote(f'resume={folder.path}')} trainer.gradient_clip_val=1.0"
                    remedy += f"; {again} goes on from before it, else begin anew"
                raise Diverged(f"{told}. {remedy}.")


class StopOnSignal(Callback):
    """On SIGINT or SIGTERM let the step in progress end, save ``last.ckpt``, and raise :class:`Interrupted`.

    A signal can arrive in the middle of an optimizer's update; a checkpoint written there would hold weights of
    neither step. A second Ctrl-C, some seconds later, does not wait. Several processes ask each other every few steps,
    and all stop at the same one.

    Args:
        checkpoint: what saves; None where the run keeps no checkpoints.
    """

    def __init__(self, checkpoint: BestAndLast | None) -> None:
        self.checkpoint = checkpoint
        self.signum, self._noted = 0, 0.0
        self._looked_at = 0  # step of the last exchange

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._looked_at = trainer.global_step
        # Here and not earlier: Lightning installs handlers of its own just before, and at its end puts all back.
        for signum in stop_signals():
            signal.signal(signum, self._note)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        # The second Ctrl-C torch hands on to several processes as SIGTERM.
        is_second = self.signum == signal.SIGINT and signum in (signal.SIGINT, signal.SIGTERM)
        if is_second and time.monotonic() - self._noted > SECONDS_TO_STOP:
            self._noted = time.monotonic()
            raise Interrupted(self.signum)
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
