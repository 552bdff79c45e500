"""A research template for image classification.

``imgclf.fit(imgclf.compose(["model=lenet"]))`` trains, ``imgclf.load("logs/...").predict(pictures)`` uses.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from imgclf.inference import Predictor


def compose(overrides: Sequence[str] = ()) -> "DictConfig":
    """The configuration of ``scripts/train.py`` with these arguments, checked."""
    from imgclf.cli import compose

    return compose(overrides)


def fit(config: "DictConfig") -> dict[str, Any] | None:
    """Train with such a configuration in this process (several where it asks for them); contents of metrics.json."""
    from omegaconf import OmegaConf

    from imgclf.check import require_arguments
    from imgclf.job import isolated
    from imgclf.train import train

    require_arguments(OmegaConf.to_container(config, resolve=True))  # some may have been changed since compose
    with isolated():
        return train(config)


def load(run: str | Path, checkpoint: str = "best", trust: Sequence[str] = ()) -> "Predictor":
    """A run's network with its own preprocessing: ``predict``, ``embed``, ``class_names``."""
    from imgclf.inference import load

    return load(run, checkpoint, trust)
