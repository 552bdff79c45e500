"""One process of a prediction."""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from imgclf.callbacks.predictions import KeepPredictions
from imgclf.data.kaggle_cifar10 import KaggleCIFAR10
from imgclf.errors import InputError
from imgclf.images.submission import rows_of, submission
from imgclf.run.processes import is_first, speak
from imgclf.run.trained import bare_trainer, data_for, trained_model
from imgclf.run_folder import RunFolder, write_whole, written_aside


def predict_rank(config: DictConfig, parts: str) -> int:
    """Classify a stretch of the images; the first process writes the answer of all.

    Args:
        config: of scripts/predict.py.
        parts: folder where the processes put their probabilities.

    Returns:
        The exit code.
    """
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
    np.save(Path(parts) / f"{trainer.global_rank}.npy", keep.probabilities[: keep.done])
    trainer.strategy.barrier()
    if is_first():
        probabilities = np.concatenate(
            [np.load(Path(parts) / f"{rank}.npy", allow_pickle=False) for rank in range(trainer.world_size)]
        )
        folder = RunFolder(config.run)
        _write(folder, data, probabilities, config.probabilities)
        seconds = time.perf_counter() - begin
        print(f"\n{len(probabilities):,} images classified in {seconds:.1f} s: {folder.path / 'submission.csv'}")
    return 0


def _write(folder: RunFolder, data: KaggleCIFAR10, probabilities: NDArray[np.float32], keep: bool) -> None:
    ids = data.ids_to_submit()
    # By file name: the images lie in the order of their numbers, the list in one of its own.
    in_order = probabilities[rows_of(ids, data.predicted_ids())]
    if keep:
        with written_aside(folder.path / "probabilities.npy") as aside, aside.open("wb") as file:
            np.save(file, in_order)
    write_whole(folder.path / "submission.csv", submission(ids, in_order.argmax(axis=1), data.class_names))
