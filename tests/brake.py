"""A callback that slows a run down while a test is about to stop it, so that it cannot end before that."""

import time
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback


class Brake(Callback):
    """Half a second more an epoch for as long as a file is there.

    Args:
        file: the test deletes it when it has stopped the run for the last time.
    """

    def __init__(self, file: str) -> None:
        self.file = Path(file)

    def on_train_epoch_start(self, *_: Any) -> None:
        if self.file.exists():
            time.sleep(0.5)


def braked(file: Path) -> tuple[str, str]:
    """Settings of a run that is braked until ``file`` is deleted; this folder must be on its PYTHONPATH."""
    file.touch()
    return "+callbacks.brake._target_=brake.Brake", f"+callbacks.brake.file={file}"
