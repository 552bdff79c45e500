"""Objects from the nodes of a configuration, and weights from checkpoints."""

import os
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import Logger

from imgclf.data.module import ImageData
from imgclf.errors import InputError, explanation
from imgclf.models.classifier import Classifier
from imgclf.slurm import slurm_tasks


def built(config: DictConfig, key: str, **arguments: Any) -> Any:
    """Instantiate one node; lists and dictionaries arrive as plain ones.

    Args:
        config: what holds the node.
        key: its name.
        arguments: handed to the constructor besides the node's own.

    Raises:
        InputError: the node says not what to make, or the constructor refuses a value.
    """
    node = config.get(key)
    if not OmegaConf.is_dict(node) or "_target_" not in node:
        full = config._get_full_key(key)
        raise InputError(f"{full}={node} does not say what to make: give {full}._target_=CLASS, or leave it out")
    try:
        return instantiate(node, **arguments, _convert_="all")
    except InstantiationException as error:
        cause: BaseException = error
        while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
            cause = cause.__cause__
        if explanation(cause) is not None:
            raise cause from error
        if isinstance(cause, ValueError | TypeError | ImportError | MisconfigurationException):
            raise InputError(f"{key} ({node.get('_target_')}) cannot be built: {cause}") from error
        raise


def built_group(config: DictConfig, key: str) -> list[Any]:
    """The objects of a group of named entries, of which null switches one off."""
    node = config.get(key) or DictConfig({})
    return [built(node, str(name)) for name, entry in node.items() if entry is not None]


def build(config: DictConfig) -> tuple[ImageData, LightningModule, list[Callback]]:
    """Data, network and callbacks of a run, which fit each other; no image is read.

    Raises:
        InputError: they do not, or a constructor refuses a value.
    """
    data: ImageData = built(config, "data")
    model: LightningModule = built(config, "model", optimizer=built(config, "optimizer"))
    try:  # once for nothing, so that a value that it refuses shows before data is read
        built(config, "optimizer")([p for p in model.parameters() if p.requires_grad])
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        raise InputError(f"optimizer ({config.optimizer._target_}) cannot be built: {error}") from error
    require_same_form(model, data)
    _require_measured(config, model)
    return data, model, [built(config, "schedule"), *built_group(config, "callbacks")]


def require_same_form(model: LightningModule, data: ImageData) -> None:
    """Refuse a network that does not take images of the form that the data give, or another number of classes."""
    if not isinstance(model, Classifier):
        return
    _, channels, size, _ = model.input_shape
    for key, given, taken in (
        ("in_channels", data.in_channels, channels),
        ("resize", data.resize, size),
        ("num_classes", data.num_classes, model.num_classes),
    ):
        if given != taken:
            raise InputError(
                f"data.{key}={given}, but the network was built for {taken}: give data.{key}={taken}, or a network "
                "for these data"
            )


def _require_measured(config: DictConfig, model: LightningModule) -> None:
    """Refuse callbacks that watch what is not measured; they would find out after the first epoch."""
    known = [f"{stage}/{name}" for stage in ("train", "val") for name in getattr(model, "metric_names", ())]
    validates = config.data.get("fit_on") != "train_valid" and config.trainer.get("limit_val_batches") != 0
    for name, node in (config.get("callbacks") or {}).items():
        watched = node.get("monitor") if OmegaConf.is_dict(node) else None
        if not known or str(watched).partition("/")[0] not in ("train", "val", "test"):
            continue  # another callback may bring it
        told = f"callbacks.{name}.monitor={watched}"
        if watched not in known:
            raise InputError(f"{told} is not measured in training: choose one of {', '.join(known)}")
        if watched.startswith("val/") and not validates and not node._target_.endswith(".BestAndLast"):
            raise InputError(f"{told}, but nothing is validated in this run: monitor train/loss, or leave {name} out")


def built_trainer(config: DictConfig, **arguments: Any) -> Trainer:
    """The Trainer, told who has started the processes: Lightning would take each job of SLURM for several tasks.

    Raises:
        InputError: the constructor refuses a value.
    """
    if "plugins" not in config.trainer:
        arguments["plugins"] = [_environment()]
    trainer: Trainer = built(config, "trainer", **arguments)
    if "LOCAL_RANK" in os.environ and trainer.world_size < int(os.environ.get("WORLD_SIZE", "1")):
        raise InputError(f"trainer.strategy={config.trainer.strategy}: each process would train alone; give ddp")
    return trainer


def _environment() -> ClusterEnvironment:
    if "LOCAL_RANK" in os.environ and TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if "LOCAL_RANK" not in os.environ and slurm_tasks() > 1:
        return SLURMEnvironment(auto_requeue=False)
    return LightningEnvironment()


def built_loggers(config: DictConfig, resume_from: Path | None) -> list[Logger]:
    """The loggers; a resumed run has TensorBoard forget what came after the checkpoint it continues from."""
    loggers = []
    for name, node in (config.get("logger") or {}).items():
        if node is None:
            continue
        arguments = {}
        if resume_from is not None and node._target_.endswith(".TensorBoardLogger"):
            arguments["purge_step"] = int(read_checkpoint(resume_from)["global_step"])  # steps are counted from 0
        loggers.append(built(config.logger, name, **arguments))
    return loggers


# What Lightning's checkpoints hold besides the weights.
_TO_GO_ON = ("epoch", "global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers")


def load_weights(model: LightningModule, file: Path, *, to_go_on: bool = False) -> None:
    """Put a checkpoint's weights into a network; nothing in the file is executed.

    Args:
        to_go_on: whether it has to hold all that training needs besides.

    Raises:
        InputError: the file is damaged, holds more than plain values, is of another network, or of one that diverged.
    """
    checkpoint = read_checkpoint(file)
    lacking = [key for key in (_TO_GO_ON if to_go_on else ()) if key not in checkpoint]
    if lacking:
        raise InputError(f"{file} cannot be continued from, it lacks {', '.join(lacking)}: restore it or train again")
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except (KeyError, RuntimeError) as error:
        raise InputError(f"{file} holds other weights than {type(model).__name__} has: {error}") from error
    broken = [name for name, tensor in model.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise InputError(
            f"{file} holds weights that are no numbers ({broken[0]}): its training has diverged; train again with a "
            "lower optimizer.lr"
        )


def read_checkpoint(file: Path) -> dict[str, Any]:
    """A checkpoint's tensors and plain values.

    Raises:
        InputError: the file is damaged, or holds more than that.
    """
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"there is no {file}: train first, or choose another checkpoint") from error
    except Exception as error:  # torch raises many kinds for damaged files
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{file} cannot be read as a checkpoint ({first}): restore it or train again") from error
    if not isinstance(checkpoint, dict):
        raise InputError(f"{file} is no checkpoint of a run: restore it or train again")
    return checkpoint


def frozen(config: DictConfig) -> dict[str, Any]:
    """What a run folder keeps: references resolved but for ``${folder}``, so that it can be moved, as plain values."""
    copy = config.copy()
    OmegaConf.set_struct(copy, False)
    copy.folder = r"\${folder}"
    plain = OmegaConf.to_container(copy, resolve=True)
    assert isinstance(plain, dict)
    # What a run is asked to do, or is part of; not what it is.
    return {str(k): v for k, v in plain.items() if k not in ("folder", "resume", "rerun", "trust", "sweep")}
