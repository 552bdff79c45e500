"""Building what the points of a sweep describe, before the first job starts; reads no images."""

import json
from collections.abc import Sequence

import torch
from omegaconf import DictConfig, OmegaConf

from imgclf.errors import InputError
from imgclf.log import quieten
from imgclf.run.build import built, built_group
from imgclf.run.processes import process_count
from imgclf.run.sensible import require_sensible
from imgclf.sweep.isolation import isolated
from imgclf.sweep.points import Point


def build_all(points: Sequence[Point], *, here: bool) -> dict[str, list[Point]]:
    """Build schedule, data, optimizer, network, callbacks and trainer of all points; equal parts once.

    Args:
        points: composed and checked.
        here: whether the jobs will run on this machine, so that the trainer's devices can be looked for.

    Returns:
        What is wrong -> the points it is wrong with.
    """
    problems: dict[str, list[Point]] = {}
    tried: dict[str, str] = {}
    for point in points:
        plain = OmegaConf.to_container(point.config)
        assert isinstance(plain, dict)
        for part in _PARTS if here else [part for part in _PARTS if part != "trainer"]:
            text = json.dumps([part, plain.get(part)], sort_keys=True, default=str)
            if text not in tried:
                tried[text] = _problem(part, point.config)
            if tried[text]:
                problems.setdefault(tried[text], []).append(point)
    return problems


_PARTS = ("schedule", "callbacks", "data", "trainer", "optimizer", "model")  # the quick ones first


def _problem(part: str, config: DictConfig) -> str:
    """Why a part cannot be built; empty if it can."""
    try:
        with isolated():
            quieten()
            if part == "callbacks":
                built_group(config, part)
            elif part == "optimizer":
                built(config, part)([torch.nn.Parameter(torch.zeros(1))])
            elif part == "trainer":
                process_count(config.trainer)
                require_sensible(config.trainer)
                built(config, part, callbacks=[], logger=False, enable_checkpointing=False)
            else:
                built(config, part)
    except InputError as error:
        return str(error)
    except Exception as error:  # whatever a constructor raises, its job would fail with
        return f"{part} cannot be built: {type(error).__name__}: {error}"
    return ""
