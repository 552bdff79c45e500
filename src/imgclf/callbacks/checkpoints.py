"""best.ckpt and last.ckpt."""

import os
import shutil
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from imgclf.errors import InputError


class BestAndLast(Checkpoint):
    """Keep two checkpoints in ``checkpoints/`` of the run folder: the best epoch's and the last epoch's.

    Both are written aside and renamed, so that a killed run never leaves half a file. The best score is kept in the
    checkpoint, without any path, so that a resumed run, even in a folder that was moved, remembers it.

    Args:
        monitor: name of the metric that decides which epoch is best. Where it is a validation metric and nothing
            is validated, there is nothing to choose by, and the last epoch counts as best.
        mode: whether a larger (``max``) or a smaller (``min``) value is better; the first of equals stays.
        every_n_epochs: how often ``last.ckpt`` is written; a better epoch is written always.
    """

    def __init__(self, monitor: str, mode: Literal["max", "min"], every_n_epochs: int) -> None:
        if mode not in ("max", "min"):
            raise InputError(f"callbacks.checkpoint.mode must be max or min, got {mode!r}")
        if every_n_epochs < 1:
            raise InputError(f"callbacks.checkpoint.every_n_epochs must be at least 1, got {every_n_epochs}")
        self.monitor = monitor
        self.mode = mode
        self.every_n_epochs = every_n_epochs
        self.best_score: float | None = None
        self.best_epoch: int | None = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Not at the end of validation: the epoch is not complete there, and resuming would repeat part of it.
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        better = self._note_score(trainer)
        is_final = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        if better or is_final or (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self.save(trainer, best=better)

    def save(self, trainer: Trainer, *, best: bool = False) -> None:
        """Write ``last.ckpt``, and ``best.ckpt`` too if asked; every process must call it.

        Raises:
            InputError: they cannot be written; those of earlier epochs stay.
        """
        folder = Path(trainer.default_root_dir) / "checkpoints"
        aside, copy = folder / ".last.tmp", folder / ".best.tmp"
        try:
            trainer.save_checkpoint(aside)
            if trainer.is_global_zero:
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

    def _note_score(self, trainer: Trainer) -> bool:
        metrics = trainer.callback_metrics
        if self.monitor.startswith("val/") and sum(trainer.num_val_batches) == 0:
            self.best_score, self.best_epoch = None, trainer.current_epoch
            return True
        if self.monitor not in metrics:
            raise InputError(
                f"callbacks.checkpoint.monitor={self.monitor} is not among the metrics of this run: "
                f"{', '.join(sorted(metrics))}"
            )
        score = float(metrics[self.monitor])
        if self.best_score is not None:
            better = score > self.best_score if self.mode == "max" else score < self.best_score
            if not better:
                return False
        elif score != score:  # not a number is no best, unless nothing else comes
            return False
        self.best_score, self.best_epoch = score, trainer.current_epoch
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self.best_score, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score = state_dict["best_score"]
        self.best_epoch = state_dict["best_epoch"]


def _second_name(file: Path, copy: Path) -> None:
    """Both are only ever replaced, never written to, so that they may share their bytes."""
    copy.unlink(missing_ok=True)
    try:
        os.link(file, copy)
    except OSError:  # the file system has no links
        shutil.copyfile(file, copy)
