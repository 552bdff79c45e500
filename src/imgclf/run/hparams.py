"""A run's row on TensorBoard's HParams page."""

import math
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import TensorBoardLogger

from imgclf.errors import InputError
from imgclf.run_folder import RunFolder

SHOWN = ("test/acc", "test/loss", "val/acc", "val/loss", "train/acc", "train/loss", "images_per_second")


def settings_of(config: DictConfig, folder: RunFolder) -> dict[str, Any]:
    """The columns of settings: what every run has, and what this one was given on its command line.

    Args:
        config: of a whole run, resolved.
        folder: its folder.

    Returns:
        Numbers, truth values and texts by column.

    Raises:
        InputError: the file that keeps the command line's overrides is damaged.
    """
    columns: dict[str, Any] = {
        "model": _class_name(config.model),
        "data": _class_name(config.data),
        "schedule": _class_name(config.schedule),
        "optimizer.lr": config.optimizer.lr,
        "seed": config.seed,
    }
    file = folder.overrides_file
    try:
        given = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else []
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is damaged ({error}): restore it, or delete it") from error
    for override in given if isinstance(given, list) else []:
        key, _, text = str(override).lstrip("+~").partition("=")
        if key.startswith(("hydra", "sweep", "name")) or key in columns:
            continue
        value = OmegaConf.select(config, key)
        columns[key] = value if isinstance(value, bool | int | float | str) else str(text if value is None else value)
    return columns


def _class_name(node: DictConfig) -> str:
    return str(node.get("_target_", "")).rpartition(".")[2]


def begin_row(trainer: Trainer, columns: dict[str, Any]) -> None:
    """Write the settings, so that the row is there while the run lasts; its results are no numbers yet."""
    for logger in _loggers(trainer):
        logger.log_hyperparams(columns, {f"hp/{name}": math.nan for name in SHOWN})


def end_row(trainer: Trainer, metrics: dict[str, Any]) -> None:
    """Write the results, under tags of their own, so that the curves keep to themselves."""
    found = {f"hp/{name}": metrics[name] for name in SHOWN if name in metrics}
    for logger in _loggers(trainer):
        logger.log_metrics(found, step=trainer.global_step)
        logger.experiment.close()


def _loggers(trainer: Trainer) -> list[TensorBoardLogger]:
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
