"""What the terminal shows while training runs."""

import logging
import sys
import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

from imgclf.callbacks.epoch_table import learning_rate, metrics_of_epoch
from imgclf.errors import InputError
from imgclf.models.classifier import Classifier

log = logging.getLogger(__name__)


class Progress(ProgressBar):
    """A live line for the epoch in progress, and one lasting line for each finished epoch.

    The lasting lines go through logging, so ``train.log`` has them too. Where the output is no terminal (a batch
    job, a pipe) only they appear.

    Args:
        refresh_seconds: shortest time between two redrawings of the live line. Reading the running loss makes the
            host wait for the device, so it is read then and not at each step.
    """

    def __init__(self, refresh_seconds: float) -> None:
        super().__init__()
        if refresh_seconds <= 0:
            raise InputError(f"callbacks.progress.refresh_seconds must be above 0, got {refresh_seconds}")
        self.refresh_seconds = refresh_seconds
        self._bar: tqdm[Any] | None = None
        self._next_refresh = 0.0
        self._shows = True

    def disable(self) -> None:
        self._shows = False

    def enable(self) -> None:
        self._shows = True

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        self._open(trainer, f"epoch {_position(trainer)}", self.total_train_batches)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._is_due(trainer, batch, batch_idx):
            text = f"lr {trainer.optimizers[0].param_groups[0]['lr']:.3g}"
            if isinstance(pl_module, Classifier) and not trainer.is_last_batch:
                totals = pl_module.stage_totals("train")
                count = totals.count.item()  # this process's share; the others' would need their help
                text = f"loss {totals.loss_sum.item() / count:.4f}  acc {totals.correct.item() / count:.4f}  {text}"
            self._show(batch_idx, text)

    def on_validation_start(self, trainer: Trainer, *_: Any) -> None:
        self._close()
        self._open(trainer, "validation", sum(trainer.num_val_batches))

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._is_due(trainer, batch, batch_idx):
            self._show(batch_idx)

    def on_test_start(self, trainer: Trainer, *_: Any) -> None:
        self._open(trainer, "test", sum(trainer.num_test_batches))

    on_test_batch_end = on_validation_batch_end

    def on_predict_start(self, trainer: Trainer, *_: Any) -> None:
        self._open(trainer, "prediction", sum(trainer.num_predict_batches))

    on_predict_batch_end = on_validation_batch_end

    def on_predict_end(self, *_: Any) -> None:
        self._close()

    def on_validation_end(self, *_: Any) -> None:
        self._close()

    def on_test_end(self, *_: Any) -> None:
        self._close()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()
        if not (self._shows and trainer.is_global_zero):
            return
        metrics = metrics_of_epoch(trainer)
        parts = [f"epoch {_position(trainer)}"]
        for name, label in _COLUMNS.items():
            if name in metrics:
                parts.append(f"{label} {metrics[name]:.4f}")
        parts.append(f"lr {learning_rate(trainer):.3g}")
        if "images_per_second" in metrics:
            parts.append(f"{metrics['images_per_second']:,.0f} images/s")
        log.info("  ".join(parts))

    def on_exception(self, *_: Any) -> None:
        self._close()

    def teardown(self, *_: Any, **__: Any) -> None:
        self._close()

    def _open(self, trainer: Trainer, title: str, total: float) -> None:
        self._close()
        # Asked once a bar: asking the terminal at each step would cost more than a small network's step.
        if self._shows and trainer.is_global_zero and sys.stderr.isatty():
            self._bar = tqdm(
                total=None if total == float("inf") else int(total),
                desc=title,
                leave=False,
                unit="",
                dynamic_ncols=True,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}  {unit}",
            )
            self._begin = time.perf_counter()
            self._next_refresh = self._begin + self.refresh_seconds
            self._images = 0

    def _is_due(self, trainer: Trainer, batch: Any, batch_idx: int) -> bool:
        if self._bar is None:
            return False
        self._images += len(batch[1]) * trainer.world_size
        return time.perf_counter() >= self._next_refresh

    def _show(self, batch_idx: int, text: str = "") -> None:
        assert self._bar is not None
        now = time.perf_counter()
        self._next_refresh = now + self.refresh_seconds
        self._bar.n = batch_idx + 1
        # In the place of the unit: tqdm puts a comma before its own postfix.
        self._bar.unit = f"{text}  {self._images / (now - self._begin):,.0f} images/s".lstrip()
        self._bar.refresh()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Lightning's own printing goes to the log."""
        log.info(" ".join(str(arg) for arg in args))


_COLUMNS = {"train/loss": "loss", "train/acc": "acc", "val/loss": "val loss", "val/acc": "val acc"}


def _position(trainer: Trainer) -> str:
    last = trainer.max_epochs
    return f"{trainer.current_epoch + 1}/{last if last and last > 0 else '?'}"
