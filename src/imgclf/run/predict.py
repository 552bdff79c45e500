"""Classifying unlabelled images with a finished run: what scripts/predict.py opens.

Torch is loaded by the modules of the prediction, in the processes that predict.
"""

import tempfile
from pathlib import Path

from omegaconf import DictConfig

from imgclf.images.picture_files import list_pictures
from imgclf.run.processes import in_processes
from imgclf.run.weights import weights_file


def predict(config: DictConfig) -> int:
    """Write ``submission.csv``, and on request ``probabilities.npy``, into the run folder ``config.run``.

    Where ``config.images`` names picture files, those are classified instead.

    Args:
        config: composed and checked; data and trainer are the run's own unless the command line changed them.

    Returns:
        The exit code.
    """
    weights_file(config)  # refused before any process is started
    if config.images is not None:
        list_pictures(Path(str(config.images)))  # likewise
        from imgclf.run.predict_pictures import predict_pictures

        return predict_pictures(config)
    with tempfile.TemporaryDirectory(prefix="imgclf-parts-") as parts:
        return in_processes(config, "imgclf.run.prediction:predict_rank", parts)
