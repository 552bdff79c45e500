"""best.ckpt and last.ckpt."""

import math
import os
import shutil
import time
from pathlib import Path
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from imgclf.errors import InputError


class BestAndLast(Checkpoint):
    """Keep two checkpoints in ``checkpoints/`` of the run folder: the best epoch's and the last epoch's.

    Both are written aside and renamed, so that a killed run never leaves half a file, and only when all of it is on
    the disk, so that neither does a power cut. The best score is kept in the checkpoint, without any path, so that a
    resumed run, even in a folder that was moved, remembers it.

    Args:
        monitor: name of the metric that decides which epoch is best. Where it is a validation metric and nothing
            is validated, there is nothing to choose by, and the last epoch counts as best.
        mode: whether a larger (``max``) or a smaller (``min``) value is better. Among equals the lowest
            ``val/loss`` is, where there is one; after that the first.
        every_n_epochs: how often ``last.ckpt`` is written; a better epoch is written always.
        every_n_steps: for long epochs, write ``last.ckpt`` within them too, each time so many more optimizer steps of
            the run are done. A resumed run goes on in the middle of the epoch.
        every_minutes: likewise, when so much time has passed since it was written last.
    """

    def __init__(
        self,
        monitor: str,
        mode: Literal["max", "min"],
        every_n_epochs: int,
        every_n_steps: int | None = None,
        every_minutes: float | None = None,
    ) -> None:
        if mode not in ("max", "min"):
            raise InputError(f"callbacks.checkpoint.mode must be max or min, got {mode!r}")
        if every_n_epochs < 1:
            raise InputError(f"callbacks.checkpoint.every_n_epochs must be at least 1, got {every_n_epochs}")
        if every_n_steps is not None and every_n_steps < 1:
            raise InputError(f"callbacks.checkpoint.every_n_steps must be at least 1 or null, got {every_n_steps}")
        if every_minutes is not None and every_minutes <= 0:
            raise InputError(f"callbacks.checkpoint.every_minutes must be above 0 or null, got {every_minutes}")
        self.monitor = monitor
        self.mode = mode
        self.every_n_epochs = every_n_epochs
        self.every_n_steps = every_n_steps
        self.every_minutes = every_minutes
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        self.best_loss = math.nan  # val/loss of that epoch
        self.is_last_save = False  # a signal wants the run to stop with the epoch in progress
        self._over_at: int | None = None
        self._saved = time.monotonic()
        if every_n_steps is None and every_minutes is None:
            setattr(self, "on_train_batch_end", None)  # noqa: B010  # not even called: see skip_idle_hooks

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved = time.monotonic()
        # Early stopping has ended the run before, which no part of Lightning's own state says. Asked for more epochs
        # than it was to have then, the run goes on.
        if self._over_at is not None and self._over_at == trainer.max_epochs:
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if can_resume_after(trainer, batch_idx) and not trainer.fast_dev_run and self._is_due(trainer):  # type: ignore[attr-defined]
            self.save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Not at the end of validation: the epoch is not complete there, and resuming would repeat part of it.
        if trainer.should_stop:  # early stopping, which Lightning asks just before checkpoints
            self._over_at = trainer.max_epochs
        if self.is_last_save:
            trainer.should_stop = True
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        better = self._note_score(trainer)
        is_final = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        is_turn = (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if better or is_final or is_turn or self._is_due(trainer):
            self.save(trainer, best=better)

    def _is_due(self, trainer: Trainer) -> bool:
        """Whether the steps or the clock ask for a checkpoint; every process must call it, and all get one answer."""
        if self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0:
            return True
        if self.every_minutes is None:
            return False
        is_late = time.monotonic() - self._saved >= 60 * self.every_minutes
        if trainer.world_size > 1:
            any_late = torch.tensor(int(is_late), device=trainer.strategy.root_device)
            is_late = bool(trainer.strategy.reduce(any_late, reduce_op="max"))
        return is_late

    def save(self, trainer: Trainer, *, best: bool = False) -> None:
        """Write ``last.ckpt``, and ``best.ckpt`` too if asked; every process must call it.

        Raises:
            InputError: they cannot be written; those of earlier epochs stay.
        """
        folder = Path(trainer.default_root_dir) / "checkpoints"
        aside, copy = folder / ".last.tmp", folder / ".best.tmp"
        try:
            if trainer.is_global_zero:
                aside.unlink(missing_ok=True)  # a killed process may have left it as a second name of best.ckpt
            trainer.save_checkpoint(aside)
            if trainer.is_global_zero:
                _require_on_disk(aside)
                if best:
                    _second_name(aside, copy)
                    copy.replace(folder / "best.ckpt")
                aside.replace(folder / "last.ckpt")
        except OSError as error:
            for file in (aside, copy):
                file.unlink(missing_ok=True)
            raise InputError(
                f"{folder / 'last.ckpt'} cannot be written ({error.strerror}): make room, then go on with "
                f"resume={folder.parent}"
            ) from error
        trainer.strategy.barrier()  # no process may look for the files before they are there
        self._saved = time.monotonic()

    def _note_score(self, trainer: Trainer) -> bool:
        metrics = trainer.callback_metrics
        if self.monitor.startswith("val/") and sum(trainer.num_val_batches) == 0:
            self.best_score, self.best_epoch = None, trainer.current_epoch
            return True
        if self.monitor.startswith("val/") and not validates_now(trainer):
            return False  # what stands there is an earlier epoch's
        if self.monitor not in metrics:
            raise InputError(
                f"callbacks.checkpoint.monitor={self.monitor} is not among the metrics of this run: "
                f"{', '.join(sorted(metrics))}"
            )
        score = float(metrics[self.monitor])
        loss = float(metrics.get("val/loss", math.nan)) if validates_now(trainer) else math.nan
        if self.best_score is not None:
            better = score > self.best_score if self.mode == "max" else score < self.best_score
            if not (better or (score == self.best_score and loss < self.best_loss)):
                return False
        elif score != score:  # not a number is never the best
            return False
        self.best_score, self.best_epoch, self.best_loss = score, trainer.current_epoch, loss
        return True

    def state_dict(self) -> dict[str, Any]:
        best = {"best_score": self.best_score, "best_epoch": self.best_epoch, "best_loss": self.best_loss}
        return best | {"over_at": self._over_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score = state_dict["best_score"]
        self.best_epoch = state_dict["best_epoch"]
        self.best_loss = state_dict.get("best_loss", math.nan)
        self._over_at = state_dict.get("over_at")


def can_resume_after(trainer: Trainer, batch_idx: int) -> bool:
    """Whether a checkpoint written after this training batch holds all that the next one starts from.

    Gradients that wait for more batches are in no checkpoint. And after its last batch an epoch is carried through to
    its end, validation included.
    """
    return (batch_idx + 1) % trainer.accumulate_grad_batches == 0 and not trainer.is_last_batch


def validates_now(trainer: Trainer) -> bool:
    """Whether the epoch in progress is one that ends with validation."""
    every = trainer.check_val_every_n_epoch
    return every is None or (trainer.current_epoch + 1) % every == 0


def _require_on_disk(file: Path) -> None:
    """Some file systems rename at once, and write the bytes within half a minute."""
    if file.is_dir():  # as some strategies save
        return
    with file.open("r+b") as written:
        os.fsync(written.fileno())


def _second_name(file: Path, copy: Path) -> None:
    """Both are only ever replaced, never written to, so that they may share their bytes."""
    copy.unlink(missing_ok=True)
    try:
        os.link(file, copy)
    except OSError:  # the file system has no links
        shutil.copyfile(file, copy)
