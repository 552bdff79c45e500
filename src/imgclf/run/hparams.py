"""A run's row on TensorBoard's HParams page."""

from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import TensorBoardLogger

from imgclf.run.tensorboard import board_tag
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
    for override in folder.read_overrides():
        key, _, text = override.lstrip("+~").partition("=")
        if key.startswith(("hydra", "sweep", "name")) or key in columns:
            continue
        value = OmegaConf.select(config, key)
        if value is None or isinstance(value, DictConfig):
            value = text  # the choice of a group, rather than all that it brings
        columns[key] = value if isinstance(value, bool | int | float | str) else str(value)
    return columns


def _class_name(node: DictConfig) -> str:
    return str(node.get("_target_", "")).rpartition(".")[2]


def write_row(trainer: Trainer, columns: dict[str, Any]) -> None:
    """Write the settings, and which curves the columns of results are: each shows its curve's last point.

    Lightning's own ``log_hyperparams`` would begin each curve with a point of its own.
    """
    loggers = _loggers(trainer)
    if not loggers:
        return
    # Imports tensorboard, for which no other run or process has to wait.
    from torch.utils.tensorboard.summary import hparams

    # The values of the results say nothing here but that there are such columns.
    curves = {board_tag(name): 0.0 for name in SHOWN}
    for summary in hparams(columns, curves):  # type: ignore[no-untyped-call]
        for logger in loggers:
            logger.experiment._get_file_writer().add_summary(summary)


def close(trainer: Trainer) -> None:
    """End the event file of a run that is finished."""
    for logger in _loggers(trainer):
        logger.experiment.close()


def _loggers(trainer: Trainer) -> list[TensorBoardLogger]:
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
