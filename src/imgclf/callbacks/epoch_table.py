"""metrics.csv: a row an epoch."""

import csv
import io
import time
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from imgclf.run_folder import RunFolder, write_whole

_NO_METRICS = ("epoch", "step", "lr", "images_per_second", "seconds")


class EpochTable(Checkpoint):
    """Write epoch, updates done, learning rate of the epoch's last step, and every metric logged by then.

    Lightning calls callbacks of this base after all others, and after the module, which may log at the epoch's end.
    A resumed run first drops the rows that it is going to write again.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        self.validated: dict[str, float] = {}  # figures of the last validation in the epoch in progress
        self._epoch_start = time.perf_counter()

    def metrics(self, epoch: int | None = None) -> dict[str, float]:
        """The metrics of an epoch in the file, also where this process did not train it; empty where it is not there.

        Args:
            epoch: counted from 0; None for the last.
        """
        rows = [row for row in self.folder.read_table() if epoch is None or int(row["epoch"]) == epoch]
        found = rows[-1].items() if rows else ()
        return {name: float(value) for name, value in found if name not in _NO_METRICS and value}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.rows = [row for row in self.folder.read_table() if int(row["epoch"]) < trainer.current_epoch]
        self._epoch_start = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epoch_start, self.validated = time.perf_counter(), {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        self.validated = {} if trainer.sanity_checking else found

    def state_dict(self) -> dict[str, Any]:
        return {"validated": self.validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.validated = state_dict["validated"]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        row = {"epoch": trainer.current_epoch, "step": trainer.global_step, "lr": learning_rate(trainer)}
        # Whatever a user has called a metric, what stands first in a row is what its name says.
        row |= metrics_of_epoch(trainer) | row | {"seconds": round(time.perf_counter() - self._epoch_start, 3)}
        self.rows.append(row)
        if trainer.is_global_zero:
            text = io.StringIO()
            names = list(dict.fromkeys(name for row in self.rows for name in row))
            writer = csv.DictWriter(text, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
            write_whole(self.folder.table_file, text.getvalue())


def metrics_of_epoch(trainer: Trainer) -> dict[str, float]:
    """What the epoch in progress has logged, by name, in order of the names; at its end.

    Where it ends without validation, Lightning still has an earlier epoch's, which is left out.
    """
    found = {name: float(value) for name, value in trainer.callback_metrics.items()}
    for table in (c for c in trainer.callbacks if isinstance(c, EpochTable)):  # type: ignore[attr-defined]
        found = {name: value for name, value in found.items() if not name.startswith("val/")} | table.validated
    return dict(sorted(found.items()))


def learning_rate(trainer: Trainer) -> float:
    """The rate of the last step, of the first parameter group."""
    return float(trainer.optimizers[0].param_groups[0]["lr"])
