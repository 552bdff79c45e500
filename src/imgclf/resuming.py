"""Whether a run may be gone on with: what it keeps, what may change, what must be there."""

from omegaconf import DictConfig

from imgclf.build import frozen, read_checkpoint
from imgclf.errors import InputError
from imgclf.provenance import flat
from imgclf.run_folder import RunFolder

_DECIDES_NUMBERS = ("seed", "data", "model", "optimizer", "schedule")  # what a resumed run keeps


def changed_keys(folder: RunFolder, config: DictConfig) -> list[str]:
    """Keys of a configuration that are not as the folder keeps them, with both values; where and how long to train,
    and what may be downloaded, do not count."""
    then, now_given = flat(folder.read_config()), flat(frozen(config))
    ignored = ("name", "trainer.devices", "trainer.accelerator", "trainer.num_nodes")
    keys = [k for k in {**then, **now_given} if (k in then, then.get(k)) != (k in now_given, now_given.get(k))]
    keys = [k for k in keys if k not in ignored and k.rpartition(".")[2] not in ("download", "weights")]
    return [f"{key} was {then.get(key, 'not there')}, is {now_given.get(key, 'gone')}" for key in keys]


def refuse_to_resume(config: DictConfig, folder: RunFolder) -> None:
    metrics = folder.read_metrics()
    stored = folder.read_config()
    if metrics is not None and folder.read_run().get("outcome") != "diverged":
        # Fewer epochs than it was to have: early stopping or another limit has ended it.
        most, others = config.trainer.get("max_epochs"), ("max_steps", "max_time")
        is_same = all(config.trainer.get(key) == stored["trainer"].get(key) for key in others)
        most_then, has_all = stored["trainer"].get("max_epochs"), metrics.get("epochs", 0) >= (most or -1) >= 0
        if is_same and (most == most_then or has_all):
            raise InputError(
                f"{folder.path} is finished after {metrics['epochs']} epochs, nothing is left to resume; "
                "to train it further add trainer.max_epochs=MORE"
            )
    changed = [line for line in changed_keys(folder, config) if line.split(".")[0].split()[0] in _DECIDES_NUMBERS]
    if changed:
        raise InputError(
            f"resume={folder.path} continues the run as it was configured, but {changed[0]}: leave that out, or start "
            "a new run"
        )
    folder.read_overrides()  # what is damaged is told while nothing has been changed
    if folder.last.is_file():
        read_checkpoint(folder.last)
    if folder.read_table() and folder.best.exists() and not folder.last.exists():
        raise InputError(
            f"there is no {folder.last} to continue from, though the run has got to a best epoch: restore it, or start "
            "a new run"
        )
