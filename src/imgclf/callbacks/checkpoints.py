"""best.ckpt and last.ckpt."""

import math
import os
import shlex
import tempfile
import time
from typing import Any, Literal

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from torch import nn
from torch.serialization import get_unsafe_globals_in_checkpoint

from imgclf.distributed import LOOK_EVERY
from imgclf.errors import InputError
from imgclf.models.classifier import Classifier
from imgclf.ranges import AtLeast1, NumberFrom0
from imgclf.run_folder import RunFolder, written_aside


class BestAndLast(Checkpoint):
    """Keep two checkpoints in ``checkpoints/`` of the run folder: the best validation's and the last epoch's.

    Both are written aside and renamed when all of it is on the disk, so that neither a killed run nor a power cut
    leaves half a file; and only if all weights are numbers. The best score is kept in them, without any path, so that a
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
        every_n_epochs: AtLeast1,
        every_n_steps: AtLeast1 | None = None,
        every_minutes: NumberFrom0 | None = None,
    ) -> None:
        self.monitor, self.mode, self.every_n_epochs = monitor, mode, every_n_epochs
        self.every_n_steps, self.every_minutes = every_n_steps, every_minutes
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        self.best_metrics: dict[str, float] = {}  # of the validation that found it best
        self.is_last_save = False  # a signal wants the run to stop with the epoch in progress
        self._over_at: int | None = None  # max_epochs of the run that early stopping has ended
        self._has_validated = False
        self._is_ahead = False  # best.ckpt knows of a score that last.ckpt does not
        self._is_readable = False  # what this process writes; that holds for all, or for none
        self._saved = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved = time.monotonic()
        # Early stopping has ended the run before, which no part of Lightning's own state says. Asked for more epochs
        # than it was to have then, the run goes on.
        if self._over_at is not None and self._over_at == trainer.max_epochs:
            trainer.should_stop = True

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        is_end = trainer.should_stop and trainer.fit_loop.epoch_loop.done  # unless trainer.min_epochs wants more
        if (is_end or self._is_due(trainer)) and can_resume_after(trainer):
            self.save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        self._has_validated = True
        self._note_end(trainer)
        if self.monitor.startswith("val/") and self._note_score(trainer):
            self.save(trainer, "best.ckpt")
        is_turn = trainer.should_stop or self._is_ahead or self._is_due(trainer)
        if is_turn and can_resume_after(trainer, validated=True):
            self.save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._note_end(trainer)
        trainer.should_stop = trainer.should_stop or self.is_last_save
        is_final = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        names = []
        if self.monitor.startswith("val/"):
            every = trainer.check_val_every_n_epoch or 1  # Lightning does not know of its batches before one is due
            has_none = (trainer.current_epoch + 1) % every == 0 and sum(trainer.num_val_batches) == 0
            never = has_none or (is_final and not self._has_validated)
            if self.best_score is None and never:
                self.best_epoch, self.best_metrics = trainer.current_epoch, {}
                names.append("best.ckpt")
        elif (trainer.is_last_batch or self.best_epoch is None) and self._note_score(trainer):
            names.append("best.ckpt")
        is_turn = (trainer.current_epoch + 1) % self.every_n_epochs == 0
        # An epoch that is not complete would count as done on resuming.
        if trainer.is_last_batch and (names or self._is_ahead or is_final or is_turn or self._is_due(trainer)):
            names.append("last.ckpt")
        if names:
            self.save(trainer, *names)

    def _note_end(self, trainer: Trainer) -> None:
        if trainer.should_stop and not getattr(trainer, "is_at_limit", False):  # early stopping, which comes before
            self._over_at = trainer.max_epochs

    def _is_due(self, trainer: Trainer) -> bool:
        """Whether the steps or the clock ask for a checkpoint; every process must call it, and all get one answer."""
        if self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0:
            return True
        if self.every_minutes is None or (trainer.world_size > 1 and trainer.global_step % LOOK_EVERY):
            return False
        is_late = time.monotonic() - self._saved >= 60 * self.every_minutes
        return bool(trainer.strategy.reduce_boolean_decision(is_late, all=False))

    def save(self, trainer: Trainer, *names: str) -> None:
        """Write a checkpoint under these names, ``last.ckpt`` if none is given; every process must call it.

        Raises:
            InputError: it cannot be written, or not be read again; those of earlier epochs stay.
        """
        if not _are_numbers(trainer):
            return
        folder = RunFolder(trainer.default_root_dir).checkpoints
        names = names or ("last.ckpt",)
        for name in names:
            self._is_ahead = name != "last.ckpt"
            if not trainer.is_global_zero:
                trainer.save_checkpoint(folder / name)  # of which the first process writes all
                continue
            try:
                with written_aside(folder / name) as aside:
                    trainer.save_checkpoint(aside)
                    with aside.open("r+b") as written:
                        os.fsync(written.fileno())  # some file systems rename at once, and write half a minute later
                    if not self._is_readable and (others := get_unsafe_globals_in_checkpoint(str(aside))):
                        # Only pickle could read it: told before hours have gone into others like it.
                        told = f"a checkpoint may hold tensors and plain values alone, no {min(others)}"
                        raise InputError(f"{told}: keep it out of save_hyperparameters() and of state_dict()")
                    self._is_readable = True
            except OSError as error:
                places = f"there and in {tempfile.gettempdir()}"  # where Lightning writes first
                told = f"{folder / name} cannot be written ({error.strerror}): make room {places}, then go on with "
                raise InputError(f"{told}{shlex.quote(f'resume={folder.parent}')}") from error
        trainer.strategy.barrier()  # no process may look for the files before they are there
        if "last.ckpt" in names:
            self._saved = time.monotonic()

    def _note_score(self, trainer: Trainer) -> bool:
        """Whether the weights are the best so far by ``monitor``, which is then remembered."""
        metrics = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        metrics = trainer.strategy.broadcast(metrics)  # where a module of others logs each process's own, one decides
        if self.monitor not in metrics:
            there = ", ".join(metrics)
            raise InputError(f"callbacks.checkpoint.monitor={self.monitor} is not among this run's metrics: {there}")
        score, is_validated = metrics[self.monitor], self.monitor.startswith("val/")
        validation = {name: value for name, value in metrics.items() if is_validated and name.startswith("val/")}
        place = (score if self.mode == "min" else -score, validation.get("val/loss", 0.0))
        if self.best_score is not None:
            best = self.best_score if self.mode == "min" else -self.best_score
            if place >= (best, self.best_metrics.get("val/loss", 0.0)):
                return False
        if math.isnan(score) or not math.isfinite(place[1]) or not _are_numbers(trainer):
            return False
        self.best_score, self.best_epoch, self.best_metrics = score, trainer.current_epoch, validation
        return True

    def state_dict(self) -> dict[str, Any]:
        best = {"best_score": self.best_score, "best_epoch": self.best_epoch, "best_metrics": self.best_metrics}
        return best | {"over_at": self._over_at}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]
        self.best_metrics, self._over_at = state_dict["best_metrics"], state_dict["over_at"]


def can_resume_after(trainer: Trainer, *, validated: bool = False) -> bool:
    """Whether a checkpoint written after the training batch in progress holds all that the next one starts from.

    Gradients that wait for more batches are in no checkpoint. After its last batch an epoch is carried through to its
    end. And a validation that is due (and not ``validated``) would be left out by the run that goes on.
    """
    loop = trainer.fit_loop.epoch_loop
    if trainer.is_last_batch or loop.batch_progress.current.ready % trainer.accumulate_grad_batches:
        return False
    if validated or trainer.val_dataloaders == []:  # of which Lightning believes that it validates them
        return True
    # Private, as all that says when Lightning validates.
    return not loop._should_check_val_fx(trainer.fit_loop._data_fetcher)  # type: ignore[arg-type]


def broken_weights(model: nn.Module) -> list[str]:
    """Names of the weights that are no numbers. Buffers may be infinite, as the mask of a transformer is."""
    broken = [name for name, weight in model.named_parameters() if not bool(weight.isfinite().all())]
    return broken + [name for name, buffer in model.named_buffers() if bool(buffer.isnan().any())]


def _are_numbers(trainer: Trainer) -> bool:
    """Whether all weights are, and the loss so far: what went on from an epoch's broken mean would end like that one.

    The answer of all processes, each of which has running means of its own."""
    model: Any = trainer.lightning_module
    is_broken = isinstance(model, Classifier) and not model.totals["train"].loss_sum.isfinite()
    is_broken = is_broken or broken_weights(model) != []
    return bool(trainer.strategy.reduce_boolean_decision(not is_broken))
