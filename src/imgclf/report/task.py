"""Comparing runs: what scripts/report.py opens."""

import shutil
import sys
from typing import Any

from omegaconf import DictConfig, OmegaConf

from imgclf.errors import InputError
from imgclf.report import compare, write_report

_EXAMPLE = "sweep=logs/sweeps/NAME/DATE_TIME, or diff=[RUN,RUN]"


def report(config: DictConfig) -> None:
    """Print and write a report on ``config.sweep``, or print how the two runs of ``config.diff`` differ.

    Args:
        config: of scripts/report.py.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal without ± gets a question mark
    if (config.sweep is None) == (config.diff is None):
        raise InputError(f"give one of sweep and diff: {_EXAMPLE}")
    if config.diff is not None:
        folders = _folders(config, "diff")
        if len(folders) != 2:
            raise InputError(f"diff compares two runs, got {len(folders)}: diff=[RUN,RUN]")
        print(compare(*folders))
        return
    written = write_report(_folders(config, "sweep"), _text(config.out, "out"), sort=_text(config.sort, "sort"))
    print(written.text(shutil.get_terminal_size((80, 24)).columns, config.rows))
    print(f"report: {written.html}")
    print(f"rows:   {written.csv}")


def _folders(config: DictConfig, key: str) -> list[str]:
    given = config[key]
    folders = [_text(item, key) for item in (list(given) if OmegaConf.is_list(given) else [given])]
    found = [folder for folder in folders if folder]
    if not found or len(found) < len(folders):
        raise InputError(f"{key} needs folders: {_EXAMPLE}")
    return found


def _text(value: Any, key: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise InputError(f"{key}={value}: expected a name, got {type(value).__name__}; a folder's with ./ in front")
