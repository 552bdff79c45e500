"""TensorBoard's files of a run."""

from typing import Any

import pytorch_lightning.loggers


class TensorBoardLogger(pytorch_lightning.loggers.TensorBoardLogger):
    """As Lightning's, with one event file for training, test and results together.

    Lightning closes the file after training and after the test. The next figure then opens another, and TensorBoard
    reads files of the same second in the order of their names, ``.10`` before ``.9``: the results of a short run would
    come before what they replace.

    Args:
        settings: all arguments of Lightning's logger.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)

    def finalize(self, status: str) -> None:
        """After success keep the file open for what may follow, after a failure close it."""
        if status == "success":
            if self._experiment is not None:
                self._experiment.flush()
        else:
            super().finalize(status)

    def save(self) -> None:
        """Nothing: the run folder keeps the whole configuration."""
