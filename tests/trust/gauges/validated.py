"""Notes what is validated by each process of a run."""

import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer


class Validated(Callback):
    """Keep the network that the process validates, weights and statistics, in a file for each process and epoch.

    Args:
        folder: for the files, ``<process>-<epoch>.pt``.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_validation_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        name = f"{os.environ.get('RANK', '0')}-{trainer.current_epoch}.pt"
        torch.save({k: v.clone() for k, v in pl_module.state_dict().items()}, self.folder / name)
