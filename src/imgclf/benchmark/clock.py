"""When the parts of a run began and ended."""

import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer


class Clock(Callback):
    """Write down the moments of a run, [event, epoch, seconds since 1970], and its memory.

    The memory is what belongs to the process alone, in MB, without pages of mapped files, at the end of training.

    Events: ``epoch`` (a training epoch begins), ``first`` and ``last`` (its first batch begins, its last ends),
    ``val``, ``val_end``, ``predict``, ``predict_end``, ``end`` (training is over).

    Args:
        file: JSON, written when a stage is over.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)
        self.events: list[tuple[str, int, float]] = []

    def _note(self, event: str, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)  # queued work is not done work
        self.events.append((event, trainer.current_epoch, time.time()))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._note("epoch", trainer, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if batch_idx == 0:
            self._note("first", trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_last_batch:
            self._note("last", trainer, pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._note("val", trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._note("val_end", trainer, pl_module)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._note("predict", trainer, pl_module)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._note("predict_end", trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._note("end", trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.file.write_text(json.dumps({"events": self.events, "private_mb": private_mb()}))


def private_mb() -> float:
    """Memory of this process that no file backs, in MB; not a number where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:")]
    return found[0] if found else float("nan")


class Moments:
    """What a :class:`Clock` wrote, as durations in seconds.

    Args:
        events: [event, epoch, seconds].
        private_mb: memory.
    """

    def __init__(self, events: list[tuple[str, int, float]], private_mb: float = float("nan")) -> None:
        self.events = events
        self.private_mb = private_mb

    @classmethod
    def read(cls, file: Path) -> "Moments":
        """From a clock's file."""
        return cls(**json.loads(file.read_text()))

    def times(self, event: str) -> list[float]:
        """When it happened, in order."""
        return [seconds for name, _, seconds in self.events if name == event]

    def epochs(self) -> list[float]:
        """Seconds of each training epoch with all that belongs to it, but without validation."""
        marks = [*self.times("epoch"), *self.times("end")]
        validation = [end - begin for begin, end in zip(self.times("val"), self.times("val_end"), strict=True)]
        validation += [0.0] * (len(marks) - 1 - len(validation))
        return [after - before - v for before, after, v in zip(marks, marks[1:], validation, strict=False)]

    def whole_epochs(self) -> list[float]:
        """Seconds of each epoch with all that belongs to it, validation too."""
        marks = [*self.times("epoch"), *self.times("end")]
        return [after - before for before, after in pairwise(marks)]

    def steps(self) -> list[float]:
        """Seconds from the beginning of each epoch's first step to the end of its last."""
        return [end - begin for begin, end in zip(self.times("first"), self.times("last"), strict=True)]

    def stage(self, name: str) -> list[float]:
        """Seconds of each ``val`` or ``predict``."""
        return [end - begin for begin, end in zip(self.times(name), self.times(f"{name}_end"), strict=True)]
