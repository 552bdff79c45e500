"""Classifying unlabelled images with a finished run: those of its data, or any picture files."""

import os
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from imgclf import distributed
from imgclf.callbacks.predictions import KeepPredictions
from imgclf.data.kaggle_cifar10 import KaggleCIFAR10
from imgclf.distributed import is_first
from imgclf.errors import InputError, say
from imgclf.evaluate import bare_trainer, data_for, trained_model, weights_file
from imgclf.images.picture_files import list_pictures
from imgclf.images.submission import rows_of, submission
from imgclf.log import speak
from imgclf.predict_pictures import predict_pictures
from imgclf.run_folder import RunFolder, write_whole, written_aside


def predict(config: DictConfig) -> None:
    """Write ``submission.csv``, and on request ``probabilities.npy``, into the run folder ``config.run``.

    Where ``config.images`` names picture files, those are classified instead.

    Args:
        config: composed and checked; data and trainer are the run's own unless the command line changed them.
    """
    weights_file(config)  # refused before any process is started
    if config.images is None:
        distributed.run(predict_process, config)
    elif is_first():
        list_pictures(Path(str(config.images)))
        # One process is enough for pictures of which each is decoded on its own.
        config.trainer.strategy, config.trainer.num_nodes = "auto", 1
        config.trainer.devices = list(config.trainer.devices)[:1] if _is_list(config.trainer.devices) else 1
        os.environ.pop("LOCAL_RANK", None)
        predict_pictures(config)


def _is_list(devices: object) -> bool:
    return not isinstance(devices, int | str)


def predict_process(config: DictConfig) -> None:
    """One process of a prediction, on its stretch of the images; the first writes the answer of all."""
    speak(None)
    begin = time.perf_counter()
    model = trained_model(config)
    model.average_flips = config.average_flips
    data = data_for(model, config)
    if not isinstance(data, KaggleCIFAR10):
        raise InputError(f"{type(data).__name__} has no unlabelled images: give some by images=FOLDER")
    keep = KeepPredictions(data.num_classes)
    trainer = bare_trainer(config, keep)
    trainer.predict(model, datamodule=data, return_predictions=False)
    parts = [keep.probabilities[: keep.done]]
    if trainer.world_size > 1:
        gathered: list[NDArray[np.float32]] | None = [parts[0]] * trainer.world_size if is_first() else None
        torch.distributed.gather_object(parts[0], gathered)
        parts = gathered or []
    if is_first():
        probabilities = np.concatenate(parts)
        folder = RunFolder(config.run)
        _write(folder, data, probabilities, config.probabilities)
        seconds = time.perf_counter() - begin
        say(f"\n{len(probabilities):,} images classified in {seconds:.1f} s: {folder.path / 'submission.csv'}")


def _write(folder: RunFolder, data: KaggleCIFAR10, probabilities: NDArray[np.float32], keep: bool) -> None:
    ids = data.ids_to_submit()
    # By file name: the images lie in the order of their numbers, the list in one of its own.
    in_order = probabilities[rows_of(ids, data.predicted_ids())]
    if keep:
        with written_aside(folder.path / "probabilities.npy") as aside, aside.open("wb") as file:
            np.save(file, in_order)
    write_whole(folder.path / "submission.csv", submission(ids, in_order.argmax(axis=1), data.class_names))
