"""One run, as far as its folder tells."""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgclf.errors import InputError
from imgclf.report.files import DamagedError, Table, read_json, read_table, read_yaml, read_yaml_list
from imgclf.report.settings import flat, resolved
from imgclf.report.text import first_line, number, printable
from imgclf.run_folder import RunFolder

FINISHED = "finished"
DIVERGED = "diverged"  # finished, with a loss or accuracy that is no number


@dataclass
class Run:
    """What a run folder says.

    Args:
        folder: as it was found.
        name: short, unique within a report.
        source: which of the folders given it was found in.
        settings: flat key -> value of the resolved configuration; None where it cannot be read.
        overrides: what the command line gave; None where it cannot be read.
        about: contents of run.json.
        metrics: contents of metrics.json, not-a-number for null; None while the run is not finished.
        table: metrics.csv.
        outcome: finished, diverged, failed, interrupted, unfinished, not started, damaged.
        note: why a run is not finished, one line.
        problems: what is wrong with which of its files.
    """

    folder: Path
    name: str
    source: str
    settings: dict[str, Any] | None = None
    overrides: list[str] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] | None = None
    table: Table = field(default_factory=Table)
    outcome: str = "damaged"
    note: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def seed(self) -> Any:
        return (self.settings or self.about).get("seed")

    @property
    def is_finished(self) -> bool:
        return self.metrics is not None

    @property
    def commit(self) -> str | None:
        git = self.about.get("git")
        commit = git.get("commit") if isinstance(git, dict) else None
        return printable(commit) if isinstance(commit, str) else None


def find_runs(folders: Sequence[Path]) -> list[Run]:
    """All runs beneath the folders, in the order of their paths with numbers counting as such.

    A folder is a run's when it holds run.json, metrics.json, metrics.csv or .hydra/config.yaml. Links to folders
    are not followed: a run linked to from elsewhere would count twice.

    Raises:
        InputError: a folder does not exist, or holds no run.
    """
    runs: list[Run] = []
    seen: set[str] = set()
    sources = _sources(folders)
    for folder, source in zip(folders, sources, strict=True):
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}: give a folder of runs, such as logs/sweeps/NAME/DATE_TIME")
        found = sorted(_run_folders(folder), key=_natural)
        if not found:
            raise InputError(f"there is no run in {folder}: give a folder of runs, such as logs/sweeps/NAME/DATE_TIME")
        for path in found:
            real = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                inner = path.relative_to(folder).as_posix() if path != folder else path.absolute().name
                runs.append(read_run(path, f"{source}/{inner}" if len(folders) > 1 else inner, source))
    return runs


def _sources(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as many of their parents' as tell them apart."""
    parts = [folder.absolute().parts for folder in folders]
    for count in range(1, max((len(p) for p in parts), default=1) + 1):
        names = ["/".join(p[-count:]) for p in parts]
        if len(set(names)) == len(names):
            break
    return [printable(name) for name in names]


def _run_folders(folder: Path) -> list[Path]:
    found = []
    for place, inner, files in os.walk(folder):
        config = ".hydra" in inner and os.path.lexists(os.path.join(place, ".hydra", "config.yaml"))  # noqa: PTH118
        if config or not {"run.json", "metrics.json", "metrics.csv"}.isdisjoint(files + inner):
            found.append(Path(place))
        inner[:] = [name for name in inner if not name.startswith(".") and name != "checkpoints"]
    return found


def _natural(path: Path) -> list[tuple[int, int, str]]:
    return [(0, int(part), part) if part.isdecimal() and len(part) < 19 else (1, 0, part) for part in path.parts]


def read_run(folder: Path, name: str, source: str) -> Run:
    """Read what there is; every file that is missing or damaged is named in the run's ``problems``."""
    run, files = Run(folder, printable(name), source), RunFolder(folder)

    def part(file: Path, read: Any) -> Any:
        try:
            return read(file)
        except DamagedError as error:
            run.problems.append(f"{file.relative_to(folder)} {error}")
            return None

    config = part(files.config_file, read_yaml)
    if config is not None:
        run.settings = resolved(flat(config))
    elif not run.problems:
        run.problems.append(".hydra/config.yaml is missing")
    run.overrides = part(files.overrides_file, read_yaml_list)
    about = part(files.run_file, read_json)
    run.about = about or {}
    metrics = part(files.metrics_file, read_json)
    if metrics is not None:
        run.metrics = _metrics(metrics, run.problems)
    run.table, wrong = read_table(files.table_file)
    run.problems += [f"metrics.csv {what}" for what in wrong]
    run.outcome, run.note = _outcome(run, files, begun=about is not None)
    return run


def _metrics(content: dict[str, Any], problems: list[str]) -> dict[str, float]:
    metrics = {}
    for key, value in content.items():
        found = number(value) if not isinstance(value, str) else None
        if found is None and not (value is None or isinstance(value, float)):
            problems.append(f"metrics.json {printable(key)} is no number")
        metrics[printable(key)] = math.nan if found is None else found
    return metrics


def _outcome(run: Run, files: RunFolder, *, begun: bool) -> tuple[str, str]:
    """The outcome, and a line that says more."""
    damaged = {problem.split(" ", 1)[0] for problem in run.problems}
    if run.metrics is not None:
        no_numbers = sorted(name for name, value in run.metrics.items() if "/" in name and math.isnan(value))
        return (DIVERGED, "no number: " + ", ".join(no_numbers)) if no_numbers else (FINISHED, "")
    if "metrics.json" in damaged or "run.json" in damaged:
        return "damaged", ""
    outcome, error = run.about.get("outcome"), run.about.get("error")
    message = first_line(error) if isinstance(error, str) else ""
    progress = _progress(run)
    if outcome in ("failed", "interrupted"):
        return outcome, "; ".join(part for part in (message, progress) if part)
    if outcome == FINISHED:
        run.problems.append("metrics.json is missing, although run.json says finished")
        return "damaged", ""
    if not begun:
        return "not started", "there is no run.json"
    return "unfinished", "; ".join(part for part in ("running, or killed", progress, _last_sign(files)) if part)


def _progress(run: Run) -> str:
    done = run.table.epochs[-1] + 1 if run.table else 0
    planned = (run.settings or {}).get("trainer.max_epochs")
    return f"{done} of {planned} epochs" if isinstance(planned, int) and planned > 0 else f"{done} epochs"


def _last_sign(files: RunFolder) -> str:
    times = []
    for file in (files.run_file, files.table_file, files.log_file):
        try:
            times.append(file.stat().st_mtime)
        except OSError:
            continue
    return time.strftime("last sign %Y-%m-%d %H:%M", time.localtime(max(times))) if times else ""
