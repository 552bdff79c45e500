"""What the terminal shows while training runs."""

import contextlib
import logging
import sys
import time
from datetime import timedelta
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar
from tqdm import tqdm

from imgclf.callbacks.checkpoints import BestAndLast
from imgclf.callbacks.epoch_table import learning_rate, metrics_of_epoch
from imgclf.models.classifier import Classifier
from imgclf.ranges import NumberAbove0

log = logging.getLogger(__name__)
_COLUMNS = {"train/loss": "loss", "train/acc": "acc", "val/loss": "val loss", "val/acc": "val acc"}


class Progress(TQDMProgressBar):
    """Lightning's bar for the epoch in progress, and one lasting line for each finished epoch.

    The lasting lines go through logging, so ``train.log`` has them too: figures, speed, seconds of the epoch, time gone
    and left in training, and whether it is the best epoch so far. Where the output is no terminal, only they appear.

    Args:
        refresh_seconds: shortest time between two redrawings of the bar. Reading the running loss makes the host wait
            for the device, so it is read then and not at each step.
    """

    def __init__(self, refresh_seconds: NumberAbove0) -> None:
        super().__init__()
        self.refresh_seconds, self._next_refresh, self._first_epoch = refresh_seconds, 0.0, 0
        self._start = self._epoch_start = time.monotonic()
        if not sys.stdout.isatty():
            self.disable()

    @property
    def refresh_rate(self) -> int:
        """Batches from one redrawing to the next: 1 where it is time for one."""
        return 1 if time.monotonic() >= self._next_refresh else sys.maxsize

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Mean loss and accuracy of the epoch so far, of this process's share; the others' would need their help."""
        self._next_refresh = time.monotonic() + self.refresh_seconds
        if not isinstance(pl_module, Classifier) or not (totals := pl_module.totals["train"]).update_called:
            return {}
        count = totals.count.item()
        return {"loss": f"{totals.loss_sum.item() / count:.4f}", "acc": f"{totals.correct.item() / count:.4f}"}

    def on_train_start(self, trainer: Trainer, *_: Any) -> None:
        super().on_train_start(trainer, *_)
        self._start, self._first_epoch = time.monotonic(), trainer.current_epoch

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        self._epoch_start = time.monotonic()
        super().on_train_epoch_start(trainer, *_)
        self.train_progress_bar.set_description(f"epoch {_position(trainer)}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        now, done, metrics = time.monotonic(), trainer.current_epoch + 1, metrics_of_epoch(trainer)
        if not trainer.is_global_zero:  # only now: Lightning has the processes add up what was logged when it is read
            return
        parts = [f"epoch {_position(trainer)}"]
        parts += [f"{label} {metrics[name]:.4f}" for name, label in _COLUMNS.items() if name in metrics]
        parts.append(f"lr {learning_rate(trainer):.3g}")
        if "images_per_second" in metrics:
            parts.append(f"{metrics['images_per_second']:,.0f} images/s")
        parts.append(f"{now - self._epoch_start:.1f} s, {_clock(now - self._start)} gone")
        last = trainer.max_epochs
        if last is not None and last > 0:
            parts[-1] += f", {_clock((now - self._start) * (last - done) / (done - self._first_epoch))} left"
        checkpoints = (c for c in trainer.checkpoint_callbacks if isinstance(c, BestAndLast))
        if any(checkpoint.best_epoch == trainer.current_epoch for checkpoint in checkpoints):
            parts.append("best so far")
        with tqdm.external_write_mode():
            log.info("  ".join(parts))

    def on_exception(self, *_: Any) -> None:
        with contextlib.suppress(TypeError):  # there is none
            self.train_progress_bar.close()


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _position(trainer: Trainer) -> str:
    last = trainer.max_epochs
    return f"{trainer.current_epoch + 1}/{last if last and last > 0 else '?'}"
