"""Composing the points of a sweep, without torch: some hundredths of a second each."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from imgclf.config.command_line import task_overrides
from imgclf.config.door import check_all
from imgclf.errors import Refused
from imgclf.run.freeze import resolved


@dataclass(frozen=True)
class Point:
    """A point of a sweep.

    Args:
        overrides: what sets it apart, KEY=VALUE.
        config: its configuration, resolved, with a folder that stands for the job's own.
        key: of that configuration.
        folder: name that ``hydra.sweep.subdir`` gives it.
    """

    overrides: tuple[str, ...]
    config: DictConfig
    key: str
    folder: str


def key(config: DictConfig) -> str:
    """What two configurations share if and only if they come to the same numbers: 16 hexadecimal digits.

    Its folder and its name, which only names the folder, do not count.
    """
    return _key(resolved(config))


def _key(plain: dict[str, Any]) -> str:
    text = json.dumps({name: value for name, value in plain.items() if name != "name"}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def grid(master: DictConfig) -> list[tuple[str, ...]] | None:
    """The overrides of all points, where Hydra's own sweeper multiplies the choices; None with another sweeper.

    Args:
        master: configuration of the whole sweep.
    """
    sweeper = master.hydra.sweeper
    if not sweeper._target_.endswith(f".{BasicSweeper.__name__}"):
        return None
    arguments = [f"{name}={value}" for name, value in (sweeper.params or {}).items()]
    arguments += [argument for argument in task_overrides(master.hydra) if not _is_of_the_sweep(argument)]
    overrides = OverridesParser.create(config_loader=_loader()).parse_overrides(arguments)
    return [tuple(point) for batch in BasicSweeper.split_arguments(overrides, None) for point in batch]


def own(overrides: Sequence[str]) -> tuple[str, ...]:
    """Overrides without those that say how the sweep runs."""
    return tuple(override for override in overrides if not _is_of_the_sweep(override))


def _is_of_the_sweep(override: str) -> bool:
    return override.partition("=")[0].lstrip("+~").partition(".")[0] == "sweep"


def compose(master: DictConfig, overrides: Sequence[str], number: int) -> Point:
    """One point.

    Args:
        master: configuration of the whole sweep.
        overrides: of the point.
        number: of the job, in case the configuration refers to it.

    Raises:
        InputError: the configuration is wrong.
        Refused: there is no such configuration.
    """
    try:
        config = _loader().load_sweep_config(master, list(overrides))
    except Exception as error:
        raise Refused(error, f"in the job {' '.join(overrides)}") from error
    with _as_job(config, number) as plain:
        check_all(plain)
        content = resolved(plain)
        built_from = OmegaConf.create(content | {"folder": config.hydra.runtime.output_dir})
        return Point(tuple(overrides), built_from, _key(content), str(OmegaConf.select(config, "hydra.sweep.subdir")))


def _loader() -> ConfigLoader:
    return GlobalHydra.instance().config_loader()


@contextlib.contextmanager
def _as_job(config: DictConfig, number: int) -> Iterator[DictConfig]:
    """The configuration without Hydra's own part, while ``${hydra:...}`` in it means this job."""
    with open_dict(config):
        config.hydra.job.id = str(number)
        config.hydra.job.num = number
        config.hydra.runtime.output_dir = str(Path(config.hydra.sweep.dir, "job").absolute())
    hydra_config = HydraConfig.instance()
    before = hydra_config.cfg
    hydra_config.set_config(config)
    try:
        plain = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        OmegaConf.set_struct(plain, False)
        yield plain
    finally:
        hydra_config.cfg = before
