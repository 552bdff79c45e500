"""A callback that notes what its process holds; the folder of this file must be on the PYTHONPATH."""

import gc
import json
import os
import threading
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback


class Gauge(Callback):
    """Add a line of JSON to a file: at the end of each epoch, or once a run.

    Args:
        file: memory (``bytes``, resident), ``files`` (open handles), ``threads``, ``children`` (processes).
        each_epoch: False for the end of training alone.
    """

    def __init__(self, file: str, each_epoch: bool) -> None:
        self.file = Path(file)
        self.each_epoch = each_epoch

    def on_train_epoch_end(self, *_: Any) -> None:
        if self.each_epoch:
            self.note()

    def on_train_end(self, *_: Any) -> None:
        if not self.each_epoch:
            self.note()

    def note(self) -> None:
        gc.collect()
        process = Path("/proc/self")
        found = {
            "bytes": int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"),
            "files": len(list((process / "fd").iterdir())),
            "threads": threading.active_count(),
            "children": len((process / "task" / str(os.getpid()) / "children").read_text().split()),
        }
        with self.file.open("a") as out:
            out.write(json.dumps(found) + "\n")
