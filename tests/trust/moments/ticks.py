"""Tells the audit hook of sitecustomize.py of each step."""

import sys
from typing import Any

from pytorch_lightning import Callback


class Ticks(Callback):
    def on_train_batch_start(self, *_: Any) -> None:
        sys.audit("imgclf.step")

    def on_validation_batch_end(self, *_: Any) -> None:
        sys.audit("imgclf.step")
