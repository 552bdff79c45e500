"""The run folder: one contract between training, evaluation, reports and the user.

::

    .hydra/config.yaml     the resolved configuration, enough to evaluate, predict, resume
    .hydra/overrides.yaml  what the user gave on the command line
    .hydra/hydra.yaml      Hydra's own settings
    run.json               command, commit, machine, threads, versions, fingerprints of the data, seed, outcome
    metrics.json           final metrics; present only when the run is finished, or its loss is no number any more
    metrics.csv            a row an epoch
    checkpoints/best.ckpt  by the monitored metric
    checkpoints/last.ckpt  to resume from
    train.log              what the terminal showed
    error.txt              traceback, where the run failed
    events.out.tfevents.*  TensorBoard
"""

import contextlib
import csv
import json
import math
import os
import shutil
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from imgclf.errors import InputError

_PATIENCE_SECONDS = 2.0  # for a process that is about to end


class RunFolder:
    """Paths and files of one run.

    Args:
        path: the folder; need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config_file = self.path / ".hydra" / "config.yaml"
        self.overrides_file = self.path / ".hydra" / "overrides.yaml"
        self.hydra_file = self.path / ".hydra" / "hydra.yaml"
        self.run_file = self.path / "run.json"
        self.metrics_file = self.path / "metrics.json"
        self.table_file = self.path / "metrics.csv"
        self.log_file = self.path / "train.log"
        self.error_file = self.path / "error.txt"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.checkpoints / "best.ckpt"
        self.last = self.checkpoints / "last.ckpt"

    @classmethod
    def existing(cls, path: str | Path) -> "RunFolder":
        """The folder of a run that has at least begun.

        Raises:
            InputError: there is no such folder, or it holds no run.
        """
        folder = cls(path)
        if not folder.path.is_dir():
            raise InputError(f"there is no folder {folder.path}: give the run folder that training named at its end")
        if (folder.path / "sweep.json").exists() and not folder.config_file.exists():
            raise InputError(f"{folder.path} is the folder of a sweep: give that of one of its jobs")
        if not folder.config_file.is_file():
            raise InputError(
                f"{folder.path} is no run folder: it lacks {folder.config_file.relative_to(folder.path)}. "
                "Give the folder that training named at its end, such as logs/runs/NAME/DATE_TIME"
            )
        return folder

    @property
    def has_begun(self) -> bool:
        """Whether training has left something that a new run would overwrite."""
        return any(file.exists() for file in (self.table_file, self.metrics_file, self.last, self.best))

    @contextlib.contextmanager
    def lock(self, seconds: float = _PATIENCE_SECONDS) -> Iterator[None]:
        """Have the folder, made where it is missing, to this process; the system lets go however it ends.

        Args:
            seconds: to wait for another process; -1 waits for its end.

        Raises:
            InputError: another process has it, or nothing can be written there.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock", timeout=seconds)
            lock.acquire()
        except Timeout:
            raise InputError(f"a run is going on in {self.path}: wait for its end, or stop it") from None
        except OSError as error:
            raise InputError(f"{self.path} cannot be written ({error.strerror}): choose another folder") from error
        try:
            yield
        finally:
            lock.release()

    def events(self) -> list[Path]:
        """TensorBoard's files; none with ``logger=none``."""
        return sorted(self.path.glob("events.out.tfevents.*"))

    def read_config(self) -> dict[str, Any]:
        """The resolved configuration as plain values.

        Raises:
            InputError: the file is damaged.
        """
        return _mapping(self.config_file, yaml.safe_load)

    def read_overrides(self) -> list[str]:
        """What the user gave on the command line; empty where there is no such file.

        Raises:
            InputError: the file is damaged.
        """
        if not self.overrides_file.exists():
            return []
        try:
            given = yaml.safe_load(self.overrides_file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{self.overrides_file} is damaged ({error}): restore or remove it") from error
        return [str(override) for override in given] if isinstance(given, list) else []

    def read_run(self) -> dict[str, Any]:
        """Contents of run.json; empty where there is none yet."""
        return _mapping(self.run_file, json.loads) if self.run_file.exists() else {}

    def read_metrics(self) -> dict[str, Any] | None:
        """Contents of metrics.json; None while the run is not finished."""
        return _mapping(self.metrics_file, json.loads) if self.metrics_file.exists() else None

    def read_table(self) -> list[dict[str, str]]:
        """Rows of metrics.csv by column, in the order of the epochs; empty where there is no such file.

        Raises:
            InputError: the file is damaged.
        """
        if not self.table_file.exists():
            return []
        try:
            with self.table_file.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file, strict=True))
            if any(int(row["epoch"]) < 0 or None in row for row in rows):
                raise ValueError("a line too long, or of no epoch")
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise InputError(
                f"{self.table_file} is damaged ({error}): restore it, or move it away to go on without the rows so far"
            ) from error
        return rows

    def write_config(self, text: str) -> None:
        """Keep the resolved configuration, YAML text."""
        write_whole(self.config_file, text)

    def write_hydra(self, overrides: list[str], settings: str) -> None:
        """Keep what the user gave on the command line, and Hydra's settings, YAML text."""
        write_whole(self.overrides_file, yaml.safe_dump(overrides))
        write_whole(self.hydra_file, settings)

    def write_run(self, **entries: Any) -> None:
        """Add entries to run.json."""
        write_whole(self.run_file, json.dumps(self.read_run() | entries, indent=2) + "\n")

    def write_error(self, error: BaseException, process: int = 0) -> None:
        """Add the traceback of what a process of the run failed with to error.txt."""
        with self.error_file.open("a", encoding="utf-8") as file:
            file.write(f"process {process}\n{''.join(traceback.format_exception(error))}\n")

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Write metrics.json, the sign that the run is finished. Not-a-number becomes null, as JSON has none."""
        clean = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in metrics.items()}
        write_whole(self.metrics_file, json.dumps(clean, indent=2) + "\n")

    def tidy(self) -> None:
        """Bring to an end what a killed process has left half done; nobody may be at work in the folder."""
        if (self.checkpoints / ".last.tmp").exists() and self.best.exists() and not self.last.exists():
            # Killed between the two renamings of the first checkpoint, which best.ckpt and last.ckpt share.
            with written_aside(self.last) as aside:
                shutil.copyfile(self.best, aside)
        for place in (self.path, self.config_file.parent, self.checkpoints):
            for file in place.glob(".*.tmp"):
                file.unlink(missing_ok=True)


def _mapping(file: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        content = parse(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{file} is damaged ({error}): restore it, or train again") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} is damaged (no keys in it): restore it, or train again")
    return content


@contextlib.contextmanager
def written_aside(file: Path) -> Iterator[Path]:
    """A path to write to, renamed to ``file`` at the end: a killed process never leaves half a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        yield aside
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)


def write_whole(file: Path, text: str) -> None:
    """Write a text aside and rename it."""
    with written_aside(file) as aside:
        aside.write_text(text, encoding="utf-8")
