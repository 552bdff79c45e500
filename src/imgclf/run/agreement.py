"""What the parts of a configuration must agree on, looked at before any image is read."""

import logging

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import LightningModule
from torch import Tensor

from imgclf.data.module import ImageData
from imgclf.errors import InputError
from imgclf.models.classifier import Classifier

log = logging.getLogger(__name__)


def require_same_form(model: LightningModule, data: ImageData) -> None:
    """Check that the network takes images of the form that the data give, and as many classes.

    Raises:
        InputError: it does not.
    """
    if not isinstance(model, Classifier):
        return
    assert isinstance(model.example_input_array, Tensor)
    _, channels, size, _ = model.example_input_array.shape
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


# Smallest sensible values of Lightning's callbacks, which take others without a word.
_AT_LEAST = {"patience": 0, "update_every_n_steps": 1}


def require_sensible_callbacks(config: DictConfig, model: LightningModule) -> None:
    """Check that what callbacks watch is going to be measured; they would find out after the first epoch.

    Names outside of ``train/``, ``val/`` and ``test/`` are left alone: another callback may bring them.

    Raises:
        InputError: a callback's ``monitor`` is none of the network's metrics, or is of a stage that does not run; or a
            number is too small.
    """
    nodes = {name: node for name, node in (config.get("callbacks") or {}).items() if OmegaConf.is_dict(node)}
    for name, node in nodes.items():
        for key, least in _AT_LEAST.items():
            if isinstance(node.get(key), int) and node[key] < least:
                raise InputError(f"callbacks.{name}.{key}={node[key]}: expected {least} or more")
    if not isinstance(model, Classifier):
        return
    known = [f"{stage}/{name}" for stage in ("train", "val") for name in model.metric_names]
    validates = config.data.get("fit_on") != "train_valid" and config.trainer.get("limit_val_batches") != 0
    for name, node in nodes.items():
        watched = node.get("monitor")
        if not isinstance(watched, str) or watched.partition("/")[0] not in ("train", "val", "test"):
            continue
        told = f"callbacks.{name}.monitor={watched}"
        if watched not in known:
            raise InputError(f"{told} is not measured in training: choose one of {', '.join(known)}")
        is_choice_of_best = node.get("_target_") == "imgclf.callbacks.checkpoints.BestAndLast"  # takes the last epoch
        if watched.startswith("val/") and not validates and not is_choice_of_best:
            raise InputError(f"{told}, but nothing is validated in this run: monitor train/loss, or leave {name} out")


def warn_of_other_pixels(trained: DictConfig, config: DictConfig) -> None:
    """Say so where a network is shown pixels that are normalised otherwise than those it was trained on."""
    for key in ("mean", "std"):
        before, now = trained.data.get(key), config.data.get(key)
        if before != now:
            log.warning(
                f"data.{key}={now}, but the network was trained with {before}: expect worse figures, "
                f"or give data.{key}={before}"
            )
