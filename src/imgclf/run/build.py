"""Objects from the nodes of a configuration."""

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
from pytorch_lightning import LightningModule, Trainer

from imgclf import scheduler
from imgclf.errors import InputError, is_mendable


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
        if isinstance(cause, InputError):
            raise cause from error
        if isinstance(cause, ValueError | TypeError | ImportError | MisconfigurationException):
            raise InputError(f"{key} ({node.get('_target_')}) cannot be built: {cause}") from error
        if is_mendable(cause):  # such as too little memory
            raise cause from error
        raise


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def try_optimizer(config: DictConfig, model: LightningModule) -> None:
    """Make the optimizer once for nothing, so that a value it refuses shows before data is read.

    Raises:
        InputError: the constructor refuses a value.
    """
    make = built(config, "optimizer")
    try:
        make(p for p in model.parameters() if p.requires_grad)
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        target = config.optimizer._target_
        raise InputError(f"optimizer ({target}) cannot be built: {error}. Give another optimizer.KEY=VALUE") from error


def built_trainer(config: DictConfig, **arguments: Any) -> Trainer:
    """The Trainer, told who has started the processes: Lightning would take each job of SLURM for several tasks.

    Raises:
        InputError: the constructor refuses a value.
    """
    if "plugins" not in config.trainer:
        arguments["plugins"] = [_environment()]
    trainer: Trainer = built(config, "trainer", **arguments)
    return trainer


def _environment() -> ClusterEnvironment:
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if "LOCAL_RANK" not in os.environ and scheduler.tasks() > 1:
        return SLURMEnvironment(auto_requeue=False)
    return LightningEnvironment()


def built_group(config: DictConfig, key: str) -> list[Any]:
    """The objects of a group of named entries, of which null switches one off."""
    node = config.get(key) or DictConfig({})
    return [built(node, str(name)) for name, entry in node.items() if entry is not None]


def built_loggers(config: DictConfig, resume_from: Path | None) -> list[Any]:
    """The loggers; a resumed run has TensorBoard forget what came after the checkpoint it continues from."""
    loggers = []
    for name, node in (config.get("logger") or {}).items():
        if node is None:
            continue
        arguments = {}
        if resume_from is not None and node._target_.endswith(".TensorBoardLogger"):
            arguments["purge_step"] = _steps_done(resume_from)  # steps are counted from 0
        loggers.append(built(config.logger, name, **arguments))
    return loggers


def load_weights(model: LightningModule, file: Path) -> None:
    """Put a checkpoint's weights into a network; nothing in the file is executed.

    Raises:
        InputError: the file is damaged, holds more than plain values, is of another network, or of one that diverged.
    """
    _fill(model, read_checkpoint(file), file)


def require_resumable(model: LightningModule, file: Path) -> None:
    """Check that training can go on from a checkpoint.

    Raises:
        InputError: as for :func:`load_weights`, or it holds weights alone.
    """
    checkpoint = read_checkpoint(file)
    lacking = [key for key in _TO_GO_ON if key not in checkpoint]
    if lacking:
        raise InputError(f"{file} cannot be continued from, it lacks {', '.join(lacking)}: restore it or train again")
    _fill(model, checkpoint, file)


# What Lightning's checkpoints hold besides the weights.
_TO_GO_ON = ("epoch", "global_step", "loops", "callbacks", "optimizer_states", "lr_schedulers")


def _fill(model: LightningModule, checkpoint: dict[str, Any], file: Path) -> None:
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
        raise InputError(
            f"{file} cannot be read as a checkpoint ({_first_line(error)}): restore it or train again"
        ) from error
    if not isinstance(checkpoint, dict):
        raise InputError(f"{file} is no checkpoint of a run: restore it or train again")
    return checkpoint


def _steps_done(checkpoint: Path) -> int:
    return int(read_checkpoint(checkpoint)["global_step"])
