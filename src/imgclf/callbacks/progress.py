"""What the terminal shows while training runs."""

import logging
import math
import sys
import time
from datetime import timedelta
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

from imgclf.callbacks.checkpoints import BestAndLast
from imgclf.callbacks.epoch_table import learning_rate, metrics_of_epoch
from imgclf.models.classifier import Classifier
from imgclf.ranges import NumberAbove0, require

log = logging.getLogger(__name__)
_COLUMNS = {"train/loss": "loss", "train/acc": "acc", "val/loss": "val loss", "val/acc": "val acc"}


class Progress(ProgressBar):
    """A live bar for the epoch in progress, and one lasting line for each finished epoch.

    The lasting lines go through logging, so ``train.log`` has them too: figures, speed, seconds of the epoch, time gone
    and left in training, and whether it is the best epoch so far. Where the output is no terminal, only they appear.

    Args:
        refresh_seconds: shortest time between two redrawings of the bar. Reading the running loss makes the host wait
            for the device, so it is read then and not at each step.
    """

    def __init__(self, refresh_seconds: NumberAbove0) -> None:
        require("callbacks.progress", Progress.__init__, locals())
        super().__init__()
        self.refresh_seconds, self._shows, self._is_live = refresh_seconds, True, False
        self._bar: tqdm[Any] | None = None
        self._next_refresh, self._first_epoch = 0.0, 0
        self._start = self._epoch_start = time.monotonic()

    def disable(self) -> None:
        self._shows = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)  # which disables it in all processes but the first
        # Asked once: asking the terminal at each step would cost more than a small network's step.
        self._is_live = self._shows and sys.stderr.isatty()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = self._epoch_start = time.monotonic()
        self._first_epoch = trainer.current_epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_start = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *args: Any, **_: Any) -> None:
        self._advance(f"epoch {_position(trainer)}", self.total_train_batches, args[2], pl_module)

    def on_validation_batch_end(self, trainer: Trainer, *args: Any, **_: Any) -> None:
        self._advance("validation", sum(trainer.num_val_batches), args[3])

    def on_test_batch_end(self, trainer: Trainer, *args: Any, **_: Any) -> None:
        self._advance("test", sum(trainer.num_test_batches), args[3])

    def on_predict_batch_end(self, trainer: Trainer, *args: Any, **_: Any) -> None:
        self._advance("prediction", sum(trainer.num_predict_batches), args[3])

    def _advance(self, title: str, total: float, batch_idx: int, trained: LightningModule | None = None) -> None:
        if not self._is_live:
            return
        if self._bar is None or self._bar.desc != title:
            self._close()
            end = None if math.isinf(total) else total
            self._bar = tqdm(desc=title, total=end, initial=batch_idx, leave=False, dynamic_ncols=True, unit="batch")
        if time.monotonic() < self._next_refresh:
            return
        self._next_refresh, self._bar.n = time.monotonic() + self.refresh_seconds, batch_idx + 1
        if isinstance(trained, Classifier) and not trained.trainer.is_last_batch:
            totals = trained.stage_totals("train")
            count = totals.count.item()  # this process's share; the others' would need their help
            text = f"loss {totals.loss_sum.item() / count:.4f}, acc {totals.correct.item() / count:.4f}"
            self._bar.set_postfix_str(text, refresh=False)
        self._bar.refresh()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()
        if not self._shows:
            return
        now, done, metrics = time.monotonic(), trainer.current_epoch + 1, metrics_of_epoch(trainer)
        parts = [f"epoch {_position(trainer)}"]
        parts += [f"{label} {metrics[name]:.4f}" for name, label in _COLUMNS.items() if name in metrics]
        parts.append(f"lr {learning_rate(trainer):.3g}")
        if "images_per_second" in metrics:
            parts.append(f"{metrics['images_per_second']:,.0f} images/s")
        parts.append(f"{now - self._epoch_start:.1f} s, {_clock(now - self._start)} gone")
        done, last = trainer.current_epoch + 1, trainer.max_epochs
        if last is not None and last > 0:
            parts[-1] += f", {_clock((now - self._start) * (last - done) / (done - self._first_epoch))} left"
        checkpoints = (c for c in trainer.checkpoint_callbacks if isinstance(c, BestAndLast))
        if any(checkpoint.best_epoch == trainer.current_epoch for checkpoint in checkpoints):
            parts.append("best so far")
        log.info("  ".join(parts))

    def on_exception(self, *_: Any) -> None:
        self._close()

    def teardown(self, *_: Any, **__: Any) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar, self._next_refresh = None, 0.0


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _position(trainer: Trainer) -> str:
    last = trainer.max_epochs
    return f"{trainer.current_epoch + 1}/{last if last and last > 0 else '?'}"
