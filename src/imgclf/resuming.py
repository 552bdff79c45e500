"""Whether a run may be gone on with: what it keeps, what may change, what must be there."""

from omegaconf import DictConfig

from imgclf.build import frozen
from imgclf.errors import InputError
from imgclf.models.pretrained import read_checkpoint
from imgclf.run_folder import RunFolder, flat

# What a resumed run keeps.
_KEPT = ("seed", "data", "model", "optimizer", "loss", "schedule", "init_from", "freeze", "unfreeze_at_epoch")


def changed_keys(folder: RunFolder, config: DictConfig) -> list[str]:
    """Keys of a configuration that are not as the folder keeps them, with both values; where and how long to train,
    and what may be downloaded, do not count."""
    then, now_given = flat(folder.read_config()), flat(frozen(config))
    keys = [k for k in {**then, **now_given} if (k in then, then.get(k)) != (k in now_given, now_given.get(k))]
    keys = [k for k in keys if k in then or now_given[k] not in (None, [])]  # a newer version's, and not made use of
    measured = [k for k in ("data.mean", "data.std") if now_given.get(k, "") is None]  # by the run itself
    ignored = ("name", "trainer.devices", "trainer.accelerator", "trainer.num_nodes", *measured)
    keys = [k for k in keys if k not in ignored and k.rpartition(".")[2] not in ("download", "weights", "url")]
    return [f"{key} was {then.get(key, 'not there')}, is {now_given.get(key, 'gone')}" for key in keys]


def refuse_to_resume(config: DictConfig, folder: RunFolder) -> None:
    """Refuse what would lose or mix something; nothing has been changed by then."""
    metrics, stored = folder.read_metrics(), folder.read_config()["trainer"]
    if metrics is not None and folder.read_run().get("outcome") != "diverged":
        most, others = config.trainer.get("max_epochs"), ("max_steps", "max_time")
        # Fewer epochs than it was to have: early stopping or another limit has ended it.
        has_all = most == stored.get("max_epochs") or metrics.get("epochs", 0) >= (most or -1) >= 0
        if has_all and all(config.trainer.get(key) == stored.get(key) for key in others):
            told = f"{folder.path} is finished after {metrics['epochs']} epochs"
            raise InputError(f"{told}; to train it further add trainer.max_epochs=MORE")
    changed = [line for line in changed_keys(folder, config) if line.split(".")[0].split()[0] in _KEPT]
    if changed:
        raise InputError(f"resume={folder.path} goes on as configured, but {changed[0]}: leave that out, or start anew")
    folder.read_overrides()
    if folder.last.is_file():
        read_checkpoint(folder.last)
    elif folder.read_table() and folder.best.exists() and not folder.last.exists():
        raise InputError(f"there is no {folder.last} to continue from: restore it, or start anew")
