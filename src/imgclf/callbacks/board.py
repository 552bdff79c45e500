"""What every callback that writes to loggers asks: where to, when, at which step, and under which names."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch import Tensor

from imgclf.errors import InputError
from imgclf.pictures.display import displayable

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


def shows(trainer: Trainer) -> bool:
    """Whether a fit has a logger that shows curves and pictures; the same in all its processes."""
    is_fit = trainer.state.fn == "fit" and not trainer.sanity_checking
    return is_fit and any(not isinstance(logger, CSVLogger) for logger in trainer.loggers)


def pages(trainer: Trainer) -> list[Logger]:
    """The loggers to which this process writes curves and pictures: in the first process of a fit, others have none."""
    if not (trainer.is_global_zero and shows(trainer)):
        return []
    return [logger for logger in trainer.loggers if not isinstance(logger, CSVLogger)]


def writers(trainer: Trainer) -> list["SummaryWriter"]:
    """The same for what TensorBoard alone can show."""
    return [logger.experiment for logger in pages(trainer) if isinstance(logger, TensorBoardLogger)]


def log_scalars(trainer: Trainer, values: Mapping[str, float], step: int) -> None:
    """Write points of curves to every logger that shows some."""
    for logger in pages(trainer):
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


def is_due(trainer: Trainer, every_n_epochs: int) -> bool:
    """Whether the validation of this epoch is one to draw: every n-th epoch's or, between validations, the next."""
    between = trainer.check_val_every_n_epoch or 1
    return (trainer.current_epoch + 1) % every_n_epochs < between


def checked_every(callback: str, every_n_epochs: int) -> int:
    """The number, if it is one of epochs.

    Args:
        callback: key in ``callbacks``, for the message.
        every_n_epochs: as configured.

    Raises:
        InputError: it is below 1.
    """
    if every_n_epochs < 1:
        raise InputError(
            f"callbacks.{callback}.every_n_epochs must be at least 1, got {every_n_epochs}; to switch it off, "
            f"callbacks.{callback}=null"
        )
    return every_n_epochs


def class_names(trainer: Trainer, num_classes: int) -> list[str]:
    """The names that the data have for their classes, and numbers for classes without a name."""
    known = list(getattr(_data(trainer), "class_names", ()))[:num_classes]
    return known + [str(number) for number in range(len(known), num_classes)]


def as_seen(trainer: Trainer, images: Tensor) -> NDArray[np.uint8]:
    """Images (n, c, h, w) as the network is fed them -> uint8 (n, h, w, 3), without the data's normalisation."""
    data = _data(trainer)
    pixels = images.detach().float().cpu().numpy()
    return displayable(pixels, getattr(data, "mean", None), getattr(data, "std", None))


def _data(trainer: Trainer) -> Any:
    return getattr(trainer, "datamodule", None)
