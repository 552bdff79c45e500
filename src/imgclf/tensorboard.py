"""TensorBoard's files of a run, and its row on the HParams page."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning.loggers
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer

from imgclf.run_folder import RunFolder

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
    loggers = _board_loggers(trainer)
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
    """End what loggers have open, in whatever way the run has ended: Weights & Biases, for one, would go on with it in
    the next run of this process, and Lightning ends it for none of them."""
    for logger in trainer.loggers if trainer.is_global_zero else []:
        experiment = getattr(logger, "experiment", None)
        for name in ("close", "finish", "end"):  # TensorBoard; Weights & Biases; Comet
            if callable(ending := getattr(experiment, name, None)):
                ending()
                break


def _board_loggers(trainer: Trainer) -> list[pytorch_lightning.loggers.TensorBoardLogger]:
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, pytorch_lightning.loggers.TensorBoardLogger)]
