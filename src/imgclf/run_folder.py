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
import json
import math
import os
import shutil
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from imgclf.errors import InputError
from imgclf.provenance import now
from imgclf.seal import sealed_yaml


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
        if folder._was_stopped_at_its_start():
            raise InputError(
                f"{folder.path} is of a run that was stopped before it had begun: start it again with "
                f"hydra.run.dir={folder.path}"
            )
        if not folder.config_file.is_file():
            if (folder.path / "sweep.json").exists():
                raise InputError(
                    f"{folder.path} is the folder of a sweep: give that of one of its jobs, {folder.path}/0"
                )
            raise InputError(
                f"{folder.path} is no run folder: it lacks {folder.config_file.relative_to(folder.path)}. "
                "Give the folder that training named at its end, such as logs/runs/NAME/DATE_TIME"
            )
        return folder

    def _was_stopped_at_its_start(self) -> bool:
        """Whether a run has taken the folder, and then been killed before it could say what it was to be."""
        return self.run_file.is_file() and not self.config_file.exists() and not self._has_trained()

    def _has_trained(self) -> bool:
        return any(file.exists() for file in (self.table_file, self.metrics_file, self.checkpoints))

    def claim(self, **entries: Any) -> None:
        """Take the folder for a new run, exactly once even if two processes try at the same moment.

        Args:
            entries: first ones of run.json.

        Raises:
            InputError: another run has it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with self.run_file.open("x") as file:
                file.write(json.dumps(entries) + "\n")
        except FileExistsError:
            raise InputError(
                f"{self.path} holds a run already: continue it with resume={self.path}, or choose another folder"
            ) from None
        except OSError as error:
            raise InputError(f"{self.path} cannot be written ({error.strerror}): choose another folder") from error

    def kept(self) -> dict[Path, bytes | None]:
        """Contents of all files that a run writes before it trains, for :meth:`put_back`; None where there is none."""
        files = [self.config_file, self.overrides_file, self.hydra_file, self.run_file, self.metrics_file]
        files += [self.log_file, self.error_file, *self.events()]
        return {file: file.read_bytes() if file.is_file() else None for file in files}

    def put_back(self, before: Mapping[Path, bytes | None]) -> None:
        """Leave the folder as it was before a run that was refused; what else lies in it stays.

        Args:
            before: what :meth:`kept` gave.
        """
        for file, content in (dict.fromkeys(self.events()) | dict(before)).items():
            if content is None:
                file.unlink(missing_ok=True)
            elif not file.is_file() or file.read_bytes() != content:
                with contextlib.suppress(OSError), written_aside(file) as aside:
                    aside.write_bytes(content)
        if before[self.run_file] is None:
            (self.path / ".lock").unlink(missing_ok=True)
        for folder in (self.config_file.parent, self.checkpoints):
            with contextlib.suppress(OSError):  # not there, or not empty
                folder.rmdir()

    def events(self) -> list[Path]:
        """TensorBoard's files; none with ``logger=none``."""
        return sorted(self.path.glob("events.out.tfevents.*"))

    def read_config(self) -> dict[str, Any]:
        """The resolved configuration as plain values.

        Raises:
            InputError: the file is damaged.
        """
        return self._mapping(self.config_file, yaml.safe_load, yaml.YAMLError)

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
        """Contents of run.json; empty where there is none yet, or a run was killed as it made it."""
        if not self.run_file.exists() or (self.run_file.stat().st_size == 0 and not self._has_trained()):
            return {}
        return self._mapping(self.run_file, json.loads, ValueError)

    def read_metrics(self) -> dict[str, Any] | None:
        """Contents of metrics.json; None while the run is not finished."""
        return self._mapping(self.metrics_file, json.loads, ValueError) if self.metrics_file.exists() else None

    def _mapping(self, file: Path, parse: Any, errors: Any) -> dict[str, Any]:
        try:
            content = parse(file.read_text(encoding="utf-8"))
        except (errors, UnicodeDecodeError) as error:
            raise InputError(f"{file} is damaged ({error}): restore it, or train again") from error
        if not isinstance(content, dict):
            raise InputError(f"{file} is damaged (no keys in it): restore it, or train again")
        return content

    def write_config(self, text: str) -> None:
        """Keep the resolved configuration, YAML text, under the user's seal."""
        write_whole(self.config_file, sealed_yaml(text))

    def write_hydra(self, overrides: list[str], settings: str) -> None:
        """Keep what the user gave on the command line, and Hydra's settings, YAML text."""
        write_whole(self.overrides_file, yaml.safe_dump(overrides))
        write_whole(self.hydra_file, settings)

    def write_run(self, **entries: Any) -> None:
        """Add entries to run.json."""
        write_whole(self.run_file, json.dumps(self.read_run() | entries, indent=2) + "\n")

    def note_stop(self, why: str) -> bool:
        """Have run.json say that a signal stopped the run, where the run could not: it had only just begun, or ended.

        Returns:
            Whether that was still to be said.
        """
        if not self.run_file.exists():
            return False
        entries = {"outcome": "finished"} if self.metrics_file.exists() else {"outcome": "interrupted", "error": why}
        if self.read_run().get("outcome") in (entries["outcome"], "diverged"):
            return False
        self.write_run(**entries, end=now())
        return True

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


def making(folder: Path, key: str) -> list[Path]:
    """Make a folder and those above it.

    Args:
        folder: may exist.
        key: of the configuration that names it, for the message.

    Returns:
        Those that were not there before, outermost first.

    Raises:
        InputError: it cannot be made, or is a file.
    """
    missing = [place for place in (folder, *folder.parents) if not os.path.lexists(place)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{key}={folder} cannot be made a folder ({error.strerror}): choose another one") from error
    return missing[::-1]


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
