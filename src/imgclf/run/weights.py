"""The checkpoint that an evaluation or a prediction is to load."""

from pathlib import Path

from omegaconf import DictConfig

from imgclf.errors import InputError
from imgclf.run_folder import RunFolder


def weights_file(config: DictConfig) -> Path:
    """The checkpoint that ``config.run`` and ``config.checkpoint`` (best or last) name.

    Raises:
        InputError: it is neither, or not there, or ``config.run`` is no run folder.
    """
    folder = RunFolder.existing(config.run)
    files = {"best": folder.best, "last": folder.last}
    if config.checkpoint not in files:
        raise InputError(f"checkpoint must be best or last, got {config.checkpoint!r}")
    file = files[config.checkpoint]
    if not file.exists():
        raise InputError(f"there is no {file}: train first, or choose another checkpoint")
    return file
