"""Objects from the nodes of a configuration, and weights from checkpoints."""

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.loggers import CSVLogger, Logger

from imgclf.callbacks.checkpoints import BestAndLast, broken_weights
from imgclf.data.module import ImageData
from imgclf.errors import InputError, explanation
from imgclf.finetuning import Freeze
from imgclf.models.classifier import Classifier
from imgclf.models.pretrained import read_checkpoint
from imgclf.ranges import smaller_is_better
from imgclf.schedules.base import Schedule
from imgclf.slurm import slurm_tasks
from imgclf.tensorboard import KEPT_ELSEWHERE

log = logging.getLogger(__name__)
# Modules of this package that log what is known beforehand; those that users add may log anything.
_SHIPPED = {f"imgclf.models.{n}" for n in ("classifier", "googlenet", "lenet", "mlp", "nin", "resnet")}
_SHIPPED |= {f"imgclf.callbacks.{n}" for n in ("averaging", "checkpoints", "monitor", "pictures", "progress", "stop")}


def built(config: DictConfig, key: str, *args: Any, **kwargs: Any) -> Any:
    """Instantiate the node ``config[key]``, with more arguments; lists and dictionaries become plain."""
    node = config.get(key)
    if not OmegaConf.is_dict(node) or "_target_" not in node:
        full = config._get_full_key(key)
        raise InputError(f"{full}={node} does not say what to make: give {full}._target_=CLASS, or leave it out")
    try:
        return instantiate(node, *args, **kwargs, _convert_="all")
    except InstantiationException as error:
        cause: BaseException = error
        while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
            cause = cause.__cause__
        if explanation(cause) is None and isinstance(cause, ValueError | TypeError | ImportError):
            cause = InputError(f"{key} ({node._target_}) cannot be built: {cause}")
        raise cause from error


def built_group(config: DictConfig, key: str) -> dict[str, Any]:
    """The objects of a group of named entries, of which null switches one off."""
    node = config.get(key) or DictConfig({})
    return {str(name): built(node, str(name)) for name, entry in node.items() if entry is not None}


def build(config: DictConfig, *, goes_on: bool = False) -> tuple[ImageData, LightningModule, list[Callback]]:
    """Data, network and callbacks of a run, which fit each other; no image is read, and of a run that ``goes_on`` from
    a checkpoint none of the weights that it began from."""
    if goes_on and OmegaConf.select(config, "model.net.weights"):
        config = DictConfig(OmegaConf.to_container(config, resolve=True))
        config.model.net.weights = None
    data: ImageData = built(config, "data")
    if not isinstance(data, ImageData):
        raise InputError(f"data._target_={config.data._target_}: give a subclass of imgclf.data.module.ImageData")
    own = {key: built(config, key) for key in ("optimizer", "loss") if config.get(key)}
    model: LightningModule = built(config, "model", **own)
    if config.get("unfreeze_at_epoch") is not None and not config.get("freeze"):
        raise InputError(f"unfreeze_at_epoch={config.unfreeze_at_epoch}: nothing is held, add freeze=backbone")
    freezing = [] if not config.get("freeze") else [Freeze(model, config.freeze, config.get("unfreeze_at_epoch"))]
    # Once for nothing, so that a value that it refuses shows before data is read.
    built(config, "optimizer", [p for p in model.parameters() if p.requires_grad], _partial_=False)
    require_same_form(model, data)
    if config.data.get("sampler") == "balanced" == OmegaConf.select(config, "loss.class_weights") and not goes_on:
        raise InputError("data.sampler=balanced, loss.class_weights=balanced weigh rare classes twice: leave one out")
    callbacks, schedule = built_group(config, "callbacks"), built(config, "schedule")
    is_kept = any(isinstance(callback, BestAndLast) for callback in callbacks.values())
    if "checkpoint" not in (config.get("callbacks", {"checkpoint": None}) or {}) and not is_kept:
        log.warning("callbacks: none keeps checkpoints; a file of your own begins with defaults: [default]")
    _require_measured(config, model, {f"callbacks.{n}": c for n, c in callbacks.items()} | {"schedule": schedule})
    return data, model, [schedule, *freezing, *callbacks.values()]


def require_same_form(model: LightningModule, data: ImageData) -> None:
    """Refuse a network that does not take images of the form that the data give, or another number of classes."""
    if not isinstance(model, Classifier):
        return
    _, channels, size, _ = model.input_shape
    for key, taken in (("in_channels", channels), ("resize", size), ("num_classes", model.num_classes)):
        if (given := getattr(data, key)) != taken:
            raise InputError(f"data.{key}={given}, but the network is for {taken}: give that, or another network")


def _require_measured(config: DictConfig, model: LightningModule, watching: dict[str, Callback]) -> None:
    """Refuse a monitor that nothing logs, which would show after the first epoch; parts of others may log anything."""
    known = [f"val/{name}" for name in getattr(model, "metric_names", ())]
    known += [f"train/{name}" for name in getattr(type(model), "metric_names", ())]
    own: Any = model.more_metrics("val") if isinstance(model, Classifier) else {}
    parts = [model, *(part for part in watching.values() if not isinstance(part, Schedule))]
    homes = {type(part).__module__ for part in parts}
    ours = all(home in _SHIPPED or home.startswith("pytorch_") for home in homes)
    validates = config.data.get("fit_on") != "train_valid" and config.trainer.get("limit_val_batches") != 0
    for place, callback in watching.items():
        watched = str(getattr(callback, "monitor", ""))
        told = f"{place}.monitor={watched}"
        if isinstance(callback, Schedule) and (watched.startswith(("train/", "test/")) or (watched and not validates)):
            raise InputError(f"{told}: it follows what is validated; give such a figure, or another schedule")
        is_known = any(f"{watched}/".startswith(f"{name}/") for name in known)  # or of one of the classes
        is_stage = watched.startswith(("train/", "val/", "test/")) or watched.replace("_", "/", 1) in known
        if ours and is_stage and not is_known:
            raise InputError(f"{told} is not measured: choose one of {', '.join(known)}, or add metrics=full")
        metric = watched.partition("/")[2].partition("/")[0]
        larger = getattr(own[metric], "higher_is_better", None) if metric in own else None  # torchmetrics knows of its
        better = "min" if larger is False or (larger is None and smaller_is_better(watched)) else "max"
        if is_known and (mode := getattr(callback, "mode", better)) != better:
            raise InputError(f"{told} with its mode={mode}: give {place}.mode={better}, too")
        if watched.startswith("val/") and not validates and not isinstance(callback, BestAndLast):
            raise InputError(f"{told}, but nothing is validated in this run: monitor train/loss, or leave {place} out")


def built_trainer(config: DictConfig, **arguments: Any) -> Trainer:
    """The Trainer of ``config``, which may have processes that were started from outside."""
    if "plugins" not in config.trainer and "LOCAL_RANK" not in os.environ:
        # Lightning would take each job of SLURM for several tasks, and put it back into the queue itself.
        arguments["plugins"] = [SLURMEnvironment(auto_requeue=False) if slurm_tasks() > 1 else LightningEnvironment()]
    if "callbacks" in arguments and not any(isinstance(c, ProgressBar) for c in arguments["callbacks"]):
        arguments["enable_progress_bar"] = False  # Lightning would add one of its own
    trainer: Trainer = built(config, "trainer", **arguments)
    if "LOCAL_RANK" in os.environ and trainer.world_size < int(os.environ.get("WORLD_SIZE", "1")):
        raise InputError(f"trainer.strategy={config.trainer.strategy}: each process would train alone; give ddp")
    return trainer


def built_loggers(config: DictConfig, resume_from: Path | None, ids: Mapping[str, str]) -> list[Logger]:
    """The loggers; those of a resumed run go on where the checkpoint was written, in the runs of these ``ids``."""
    step = int(read_checkpoint(resume_from)["global_step"]) if resume_from else 0  # steps are counted from 0
    for node in filter(OmegaConf.is_dict, (config.get("logger") or {}).values()):
        kind = node._target_.rpartition(".")[2]
        if node.get("log_model"):  # which only Lightning's ModelCheckpoint asks for
            raise InputError(f"logger: {kind} would upload nothing; give log_model=false, or leave it out")
        if kind == "TensorBoardLogger":
            node.purge_step = step  # 0, too, hides the points of a start that was killed before its first checkpoint
        elif kind == "CSVLogger" and resume_from and node.get("version") is not None:
            node.version = f"{node.version}/from_step_{step}".lstrip("/")  # Lightning would delete the rows of before
        elif kind in ids:
            node[KEPT_ELSEWHERE[kind]] = str(ids[kind])
    loggers: list[Logger] = list(built_group(config, "logger").values())
    if any(isinstance(logger, CSVLogger) and Path(logger.log_dir) == Path(config.folder) for logger in loggers):
        raise InputError("logger: a CSVLogger would overwrite metrics.csv, which is the run's own: give it name=csv")
    return loggers


def load_weights(model: LightningModule, file: Path, *, to_go_on: bool = False) -> None:
    """Put a checkpoint's weights into a network; with ``to_go_on`` it has to hold all that training needs besides.

    Raises InputError: the file is damaged, holds more than plain values, is of another network, or of a diverged one.
    """
    checkpoint = read_checkpoint(file)
    others = ("epoch", "global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers")
    if to_go_on and (lacking := [key for key in others if key not in checkpoint]):
        raise InputError(f"{file} cannot be continued from, it lacks {', '.join(lacking)}: restore it or train again")
    try:
        own, weights = model.state_dict(), checkpoint["state_dict"]
        weights |= {n: v for n, v in own.items() if n.startswith("loss.") and n not in weights}  # an average has none
        for name in [name for name in weights if name not in own and name.startswith("loss.")]:
            del weights[name]  # where the network is only used; a copy would lose versions, for which some parts ask
        model.load_state_dict(weights)
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{file} holds other weights than {type(model).__name__} has: {error}") from error
    if broken := broken_weights(model):
        raise InputError(f"{file}: weights that are no numbers ({broken[0]}): train again with a lower optimizer.lr")


def frozen(config: DictConfig) -> dict[str, Any]:
    """What a run folder keeps: references resolved but for ``${folder}``, so that it can be moved, as plain values."""
    plain: Any = OmegaConf.to_container(OmegaConf.merge({}, config, {"folder": r"\${folder}"}), resolve=True)
    # What a run is asked to do, or is part of; not what it is.
    return {str(k): v for k, v in plain.items() if k not in ("folder", "resume", "rerun", "trust", "sweep")}
