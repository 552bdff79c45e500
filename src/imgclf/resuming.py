"""Whether a run may be gone on with: what it keeps, what may change, what must be there."""

import re
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from imgclf.build import frozen
from imgclf.errors import InputError
from imgclf.run_folder import RunFolder, flat
from imgclf.slurm import is_restarted
from imgclf.trust import DOWNLOADS, WEIGHING

# What a resumed run keeps.
_KEPT = ("seed", "data", "model", "optimizer", "loss", "schedule", "init_from", "freeze", "unfreeze_at_epoch")
_CHOOSING = ("callbacks.checkpoint.monitor ", "callbacks.checkpoint.mode ")  # the best epoch so far
_AVERAGES = ("callbacks.ema._target_ ", "callbacks.swa._target_ ")  # last.ckpt holds the mean for the weights
# Where the images lie, and how they are read; that they are the same their digest tells.
_FREE = tuple(f"data.{name}" for name in ("dir", "cache_dir", "num_workers", "resident", "eval_batch_size"))


def changed_keys(folder: RunFolder, config: DictConfig) -> list[str]:
    """Keys of a configuration that are not as the folder keeps them, with both values; its name, the machines, where
    the images lie and what may be downloaded do not count."""
    then, now_given = flat(folder.read_config()), flat(frozen(config))
    keys = [k for k in {**then, **now_given} if (k in then, then.get(k)) != (k in now_given, now_given.get(k))]
    keys = [k for k in keys if k in then or now_given[k] not in (None, [])]  # a newer version's, and not made use of
    measured = [k for k in ("data.mean", "data.std") if now_given.get(k, "") is None]  # by the run itself
    ignored = ("name", "trainer.devices", "trainer.accelerator", "trainer.num_nodes", *measured, *_FREE)
    fetched = [k for k in keys if k.rpartition(".")[2] in DOWNLOADS and not k.startswith(WEIGHING)]
    keys = [k for k in keys if k not in (*ignored, *fetched)]
    return [f"{key} was {then.get(key, 'not there')}, is {now_given.get(key, 'gone')}" for key in keys]


def decide(config: DictConfig) -> None:
    """Put into a configuration what a run folder keeps of it in another form."""
    OmegaConf.set_struct(config, False)
    if config.get("retrain_on_all"):
        config.data.fit_on = "train_valid"
    if config.get("init_from"):
        config.init_from = str(Path(config.init_from).absolute())


def refuse_to_resume(config: DictConfig, folder: RunFolder) -> None:
    """Refuse what would lose or mix something; nothing has been changed by then."""
    metrics, stored = folder.read_metrics(), folder.read_config()["trainer"]
    if metrics is not None and folder.read_run().get("outcome") != "diverged":
        most, others = config.trainer.get("max_epochs"), ("max_steps", "max_time")
        # Fewer epochs than it was to have: early stopping or another limit has ended it.
        has_all = most == stored.get("max_epochs") or metrics.get("epochs", 0) >= (most or -1) >= 0
        if has_all and all(config.trainer.get(key) == stored.get(key) for key in others):
            told = f"{folder.path} is finished after {metrics['epochs']} epochs"
            more = [f"trainer.{k}=MORE" for k in ("max_epochs", *others) if stored.get(k) not in (None, -1)]
            raise InputError(f"{told}; to train it further add {' '.join(more) or 'trainer.max_epochs=MORE'}")
    lines = changed_keys(folder, config)
    lost = [line for line in lines if line.startswith(_AVERAGES) and line.endswith("is gone")]
    changed = lost + [line for line in lines if re.split(r"[. ]", line)[0] in _KEPT or line.startswith(_CHOOSING)]
    if changed:
        raise InputError(f"resume={folder.path} goes on as configured, but {changed[0]}: leave that out, or start anew")
    if not folder.last.exists() and (metrics is not None or (len(folder.read_table()) > 1 and not is_restarted())):
        # One killed in its first epoch has nothing to lose, and starts over; a batch job does in any case.
        raise InputError(f"there is no {folder.last} to continue from: restore it, or begin anew in another folder")
