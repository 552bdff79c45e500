"""Lightning's Trainer for tests: on the CPU, and writing nothing of its own."""

from typing import Any

import pytorch_lightning as pl

# Lightning's own folder is the working one, which several tests share: name default_root_dir where anything is saved.
QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


def quiet_trainer(**settings: Any) -> pl.Trainer:
    """``settings`` add to :data:`QUIET`, or replace it."""
    return pl.Trainer(**(QUIET | settings))
