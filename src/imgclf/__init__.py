"""A research template for image classification; from Python, ``imgclf.fit(imgclf.compose(["model=lenet"]))``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose(overrides: Sequence[str] = ()) -> "DictConfig":
    """The configuration of ``scripts/train.py`` with these arguments, checked."""
    from imgclf.cli import compose

    return compose(overrides)


def fit(config: "DictConfig") -> dict[str, Any] | None:
    """Train with such a configuration in this process (several where it asks for them); contents of metrics.json."""
    from imgclf.train import train

    return train(config)
