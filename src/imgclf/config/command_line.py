"""Overrides as they stand on the command line."""

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf


def task_overrides(hydra: DictConfig | HydraConf) -> list[str]:
    """Those of the experiment, as typed: ``optimizer.momentum=${optimizer.lr}`` keeps its reference.

    Args:
        hydra: Hydra's own part of a configuration, in which merely reading the list would resolve references.
    """
    return _as_typed(hydra, "task")


def hydra_overrides(hydra: DictConfig | HydraConf) -> list[str]:
    """Those of Hydra's own keys, as typed.

    Args:
        hydra: as for :func:`task_overrides`.
    """
    return _as_typed(hydra, "hydra")


def _as_typed(hydra: DictConfig | HydraConf, key: str) -> list[str]:
    overrides = OmegaConf.to_container(getattr(hydra.overrides, key), resolve=False)
    assert isinstance(overrides, list)
    return [str(override) for override in overrides]
