"""What a run tells its loggers besides its curves: settings, and how it has ended."""

from typing import Any

import pytorch_lightning.loggers
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer

from imgclf.errors import Interrupted
from imgclf.run_folder import RunFolder

# Loggers that keep runs elsewhere, with the argument by which they go on with one.
KEPT_ELSEWHERE = {"WandbLogger": "id", "MLFlowLogger": "run_id"}


class TensorBoardLogger(pytorch_lightning.loggers.TensorBoardLogger):
    """As Lightning's, with one event file for all of a run, which :func:`close` closes.

    Lightning closes it after training and after the test. The next figure then opens another, and TensorBoard reads
    files of the same second in the order of their names, ``.10`` before ``.9``.
    """

    def finalize(self, status: str) -> None:
        self.save()

    def save(self) -> None:
        """Bring to disk what was written, for an open page, and in case the run is killed."""
        if self._experiment is not None:
            self._experiment.flush()


def settings_of(config: DictConfig, folder: RunFolder) -> dict[str, Any]:
    """The columns of settings: what every run has, and what the command line kept in ``folder`` gave this one."""
    columns = {group: config[group]._target_.rpartition(".")[2] for group in ("model", "data", "schedule")}
    if OmegaConf.is_dict(net := config.model.get("net")):  # of a library, by its name
        columns["model"] = net.get("name", columns["model"])
    columns |= {"optimizer.lr": config.optimizer.lr} if "lr" in config.optimizer else {}  # else the class's own
    columns["seed"] = config.seed
    for override in folder.read_overrides():
        key, _, text = override.lstrip("+~").partition("=")
        if not key.startswith(("hydra", "sweep", "name")) and key not in columns:
            value = OmegaConf.select(config, key)  # of a group its choice, rather than all that it brings
            columns[key] = value if isinstance(value, bool | int | float | str) else text
    return columns


def write_settings(trainer: Trainer, columns: dict[str, Any], *, resumed: bool) -> dict[str, Any]:
    """Write the settings to every logger, for TensorBoard's HParams page a row of them.

    Returns:
        By class of those loggers that keep runs elsewhere, under which name they keep this one.
    """
    ids = {}
    for logger in trainer.loggers if trainer.is_global_zero else []:
        if isinstance(logger, pytorch_lightning.loggers.TensorBoardLogger):
            from torch.utils.tensorboard.summary import hparams  # tensorboard with it; no other run has to wait for it

            # Of the three summaries the first would give all runs the columns of one, and the last tell of success.
            # Lightning's own way would begin each curve with a point of its own.
            _, start, _ = hparams(columns, {})  # type: ignore[no-untyped-call]
            logger.experiment._get_file_writer().add_summary(start)
        else:
            if not resumed:  # MLflow refuses what has changed
                logger.log_hyperparams(columns)
            if type(logger).__name__ in KEPT_ELSEWHERE:
                ids[type(logger).__name__] = logger.version
    return ids


def close(trainer: Trainer, error: type[BaseException] | None) -> None:
    """End what loggers have open, and mark a run that has failed or diverged; one that was interrupted may go on.

    Weights & Biases, for one, would go on with it in the next run of this process.
    """
    failed = error is not None and not issubclass(error, Interrupted)
    for logger in trainer.loggers if trainer.is_global_zero else []:
        if isinstance(logger, pytorch_lightning.loggers.WandbLogger):
            logger.experiment.finish(exit_code=int(failed))
        elif isinstance(logger, pytorch_lightning.loggers.TensorBoardLogger):
            if failed or error is None:
                _write_end(logger, failed=failed)
            logger.experiment.close()


def _write_end(logger: pytorch_lightning.loggers.TensorBoardLogger, *, failed: bool) -> None:
    """Have the HParams page show what became of the run, by which it counts; torch's summary knows successes only."""
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from torch.utils.tensorboard.summary import hparams

    *_, end = hparams({}, {})  # type: ignore[no-untyped-call]
    about = end.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(about.content)
    content.session_end_info.status = Status.Value("STATUS_FAILURE" if failed else "STATUS_SUCCESS")
    about.content = content.SerializeToString()
    logger.experiment._get_file_writer().add_summary(end)
