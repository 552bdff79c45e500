"""TensorBoard's files of a run."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning.loggers

_STAGES = ("train", "val", "test")
_GROUPS = {"acc": "accuracy", "lr": "rate/lr", "images_per_second": "speed/images_per_second"}


def board_tag(metric: str) -> str:
    """The name under which TensorBoard shows a metric: by what it measures, so that like lies beside like.

    ``train/loss`` and ``val/loss`` become ``loss/train`` and ``loss/val``, ``lr`` becomes ``rate/lr``; a name that
    tells of neither stays.
    """
    first, _, rest = metric.partition("/")
    if first in _STAGES and rest:
        return f"{_GROUPS.get(rest, rest)}/{first}"
    return f"{_GROUPS[first]}{f' {rest}' if rest else ''}" if first in _GROUPS else metric


class TensorBoardLogger(pytorch_lightning.loggers.TensorBoardLogger):
    """As Lightning's, with scalars grouped by what they measure, and one event file for all of a run.

    Lightning closes the file after training and after the test. The next figure then opens another, and TensorBoard
    reads files of the same second in the order of their names, ``.10`` before ``.9``: the results of a short run would
    come before what they replace.

    Args:
        settings: all arguments of Lightning's logger.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._epoch_step: int | None = None

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write metrics under TensorBoard's names; everywhere else they keep their own.

        Lightning adds the epoch to each set of metrics; it is written once for training and validation together, and
        not with the test, which belongs to no epoch.
        """
        named = {board_tag(name): value for name, value in metrics.items()}
        if step == self._epoch_step or any(name.startswith("test/") for name in metrics):
            named.pop("epoch", None)
        elif "epoch" in named:
            self._epoch_step = step
        super().log_metrics(named, step)

    def finalize(self, status: str) -> None:
        """After success keep the file open for what may follow, after a failure close it."""
        if status == "success":
            self.save()
        else:
            super().finalize(status)

    def save(self) -> None:
        """Bring to disk what was written, for an open page, and in case the run is killed."""
        if self._experiment is not None:
            self._experiment.flush()
