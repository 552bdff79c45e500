"""metrics.csv: a row an epoch."""

import csv
import io
import time
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from imgclf.callbacks.checkpoints import validates_now
from imgclf.errors import InputError
from imgclf.run_folder import write_whole
from imgclf.schedules.callback import Schedule


class EpochTable(Callback):
    """Write epoch, updates done, learning rate of the epoch's first batch, and every metric logged by then.

    A resumed run first drops the rows that it is going to write again.

    Args:
        file: where the table goes.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: list[dict[str, Any]] = []
        self._epoch_start = time.perf_counter()

    def metrics(self, epoch: int | None = None) -> dict[str, float]:
        """The metrics of an epoch in the file, also where this process did not train it; empty where it is not there.

        Args:
            epoch: counted from 0; None for the last.
        """
        rows = [row for row in self._read() if epoch is None or int(row["epoch"]) == epoch]
        return {name: float(value) for name, value in rows[-1].items() if "/" in name and value} if rows else {}

    def _read(self) -> list[dict[str, Any]]:
        if not self.file.exists():
            return []
        try:
            with self.file.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file, strict=True)
                rows = list(reader)
            if "epoch" not in (reader.fieldnames or []):
                raise ValueError("no column epoch")
            if any(int(row["epoch"]) < 0 or None in row for row in rows):
                raise ValueError("a line too long, or of no epoch")
        except (TypeError, ValueError, csv.Error) as error:
            raise InputError(
                f"{self.file} is damaged ({error}): restore it, or move it away to go on without the rows so far"
            ) from error
        return rows

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.rows = [row for row in self._read() if int(row["epoch"]) < trainer.current_epoch]
        self._epoch_start = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        row: dict[str, Any] = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "lr": learning_rate(trainer),
        }
        row |= metrics_of_epoch(trainer)
        row["seconds"] = round(time.perf_counter() - self._epoch_start, 3)
        self.rows.append(row)
        if trainer.is_global_zero:
            names = list(dict.fromkeys(name for row in self.rows for name in row))
            text = io.StringIO()
            writer = csv.DictWriter(text, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
            write_whole(self.file, text.getvalue())


def metrics_of_epoch(trainer: Trainer) -> dict[str, float]:
    """What the epoch in progress has logged, by name, in order of the names; at its end.

    Where it ends without validation, Lightning still has an earlier epoch's, which is left out.
    """
    found = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
    return {name: value for name, value in found.items() if validates_now(trainer) or not name.startswith("val/")}


def learning_rate(trainer: Trainer) -> float:
    """The rate of the epoch's first batch: the schedule's, or the optimizer's where there is no schedule."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Schedule):
            return callback.epoch_rate
    return float(trainer.optimizers[0].param_groups[0]["lr"])
