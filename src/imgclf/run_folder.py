"""The run folder, as docs/run-folder.md has it: a contract between training, evaluation, reports and the user."""

import contextlib
import csv
import json
import math
import os
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from imgclf.errors import Held, InputError


class RunFolder:
    """Paths and files of one run, whose folder need not exist yet."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        hydra, self.checkpoints = self.path / ".hydra", self.path / "checkpoints"
        self.config_file, self.overrides_file = hydra / "config.yaml", hydra / "overrides.yaml"
        self.run_file, self.metrics_file = self.path / "run.json", self.path / "metrics.json"
        self.table_file, self.log_file = self.path / "metrics.csv", self.path / "train.log"
        self.error_file = self.path / "error.txt"
        self.best, self.last = self.checkpoints / "best.ckpt", self.checkpoints / "last.ckpt"

    @classmethod
    def existing(cls, path: str | Path) -> "RunFolder":
        """The folder of a run that has at least begun."""
        folder = cls(path)
        if not folder.path.is_dir():
            raise InputError(f"there is no folder {path}: give the run folder that training named at its end")
        if (folder.path / "sweep.json").exists():
            raise InputError(f"{path} is the folder of a sweep: give that of one of its jobs")
        if not folder.config_file.is_file():
            raise InputError(f"{path} is no run folder, it lacks .hydra/config.yaml: give the one that training named")
        return folder

    @property
    def has_begun(self) -> bool:
        """Whether training has left something that a new run would overwrite."""
        return any(file.exists() for file in (self.table_file, self.metrics_file, self.last, self.best))

    def lock(self, seconds: float = 2.0) -> contextlib.AbstractContextManager[object]:
        """Have the folder, made where it is missing, to this process; the system lets go however it ends.

        ``seconds`` to wait for another process, which may be about to end; -1 waits for its end.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            return FileLock(self.path / ".lock", timeout=seconds).acquire()
        except Timeout:
            raise Held(f"a run is going on in {self.path}: wait for its end, or stop it") from None
        except OSError as error:
            raise InputError(f"{self.path} cannot be written ({error.strerror}): choose another folder") from error

    def read_config(self) -> dict[str, Any]:
        """The resolved configuration as plain values."""
        return dict(_read(self.config_file, yaml.safe_load, dict))

    def read_overrides(self) -> list[str]:
        """What the user gave on the command line; empty where there is no such file."""
        return list(map(str, _read(self.overrides_file, yaml.safe_load, list, otherwise=[])))

    def read_run(self) -> dict[str, Any]:
        """Contents of run.json; empty where there is none yet."""
        return dict(_read(self.run_file, json.loads, dict, otherwise={}))

    def told(self) -> dict[str, Any]:
        """The same for a list of runs, in which that it is damaged is an outcome like others."""
        try:
            return self.read_run()
        except InputError as error:
            return {"outcome": "damaged", "error": str(error)}

    def read_metrics(self) -> dict[str, Any] | None:
        """Contents of metrics.json; None while the run is not finished."""
        return _read(self.metrics_file, json.loads, dict) if self.metrics_file.exists() else None

    def read_table(self) -> list[dict[str, str]]:
        """Rows of metrics.csv by column, in the order of the epochs; empty where there is no such file."""
        return list(_read(self.table_file, _rows, list, otherwise=[]))

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


def flat(node: Any, path: str = "") -> dict[str, Any]:
    """Dotted key -> value of nested dictionaries; lists are values, empty groups nothing."""
    if not isinstance(node, dict):
        return {path: node}
    return {k: v for key, value in node.items() for k, v in flat(value, f"{path}.{key}" if path else str(key)).items()}


def _rows(text: str) -> list[dict[str, str]]:
    rows = list(csv.DictReader(text.splitlines(), strict=True))
    if any(int(row["epoch"]) < 0 or None in row for row in rows):
        raise ValueError("a line too long, or of no epoch")
    return rows


def _read(file: Path, parse: Callable[[str], Any], kind: type, otherwise: Any = None) -> Any:
    """What a file of the run holds; ``otherwise`` where there is none."""
    if otherwise is not None and not file.exists():
        return otherwise
    try:
        content = parse(file.read_text(encoding="utf-8"))
        if not isinstance(content, kind):
            raise ValueError(f"no {kind.__name__} in it")
    except (yaml.YAMLError, csv.Error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{file} is damaged ({error}): restore it, or train again") from error
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
