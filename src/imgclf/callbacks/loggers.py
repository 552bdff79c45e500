"""Where callbacks write: every logger that shows curves and pictures, through one function each."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger


def shows(trainer: Trainer) -> bool:
    """Whether a fit has a logger that shows curves and pictures; the same in all its processes."""
    is_fit = trainer.state.fn == "fit" and not trainer.sanity_checking
    return is_fit and any(not isinstance(logger, CSVLogger) for logger in trainer.loggers)


def pages(trainer: Trainer) -> list[Logger]:
    """The loggers to which this process writes curves and pictures: in the first process of a fit, others have none."""
    is_writer = trainer.is_global_zero and shows(trainer)
    return [logger for logger in trainer.loggers if is_writer and not isinstance(logger, CSVLogger)]


def log_scalars(trainer: Trainer, values: Mapping[str, float], step: int) -> None:
    """Write points of curves to every logger that shows some."""
    for logger in pages(trainer) if values else ():
        logger.log_metrics(dict(values), step)


def log_picture(trainer: Trainer, name: str, picture: NDArray[np.uint8], step: int) -> None:
    """Write a picture, uint8 (h, w, 3), to every logger that shows some: TensorBoard, Weights & Biases, MLflow."""
    for logger in pages(trainer):
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(name, [picture], step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, picture, artifact_file=f"{name}/{step:08}.png")


def last_step(trainer: Trainer) -> int:
    """Number of the last optimizer step done, from 0: the place of an epoch's loss and accuracy on the x axis."""
    return max(0, trainer.global_step - 1)
