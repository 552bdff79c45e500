"""The sweep's folder: one contract between the process that runs a sweep, its jobs, reports and the user.

::

    sweep.json     which configuration has which folder, and what the command line said
    .stop          present while no further job is to start, and why
    <job>/         a run folder for each job
"""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from imgclf.errors import InputError
from imgclf.holding import held, is_held
from imgclf.run_folder import RunFolder, making, write_whole
from imgclf.seal import is_own, seal

State = Literal["finished", "failed", "interrupted", "running", "not begun"]


@dataclass(frozen=True)
class Job:
    """One point of a sweep.

    Args:
        folder: its name within the sweep's folder.
        key: of its configuration, as points.key makes it.
        overrides: what sets it apart, as Hydra takes it: KEY=VALUE.
    """

    folder: str
    key: str
    overrides: tuple[str, ...]


class SweepFolder:
    """What a sweep's folder says. Only the process that runs the sweep writes sweep.json.

    Args:
        path: the sweep's folder; need not exist yet.

    Attributes:
        jobs: in the order in which they were added.
        arguments: what the command line said of the configuration, sweeps unexpanded: ``optimizer.lr=0.1,0.2``.
        hydra_arguments: what it said of Hydra: ``hydra/launcher=joblib``.
        is_grid: whether the jobs were all known beforehand; a search draws them one after the other.
        is_own: whether sweep.json carries this user's seal, or is not there yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.file = self.path / "sweep.json"
        self.stop_file = self.path / ".stop"
        self.jobs: list[Job] = []
        self.arguments: list[str] = []
        self.hydra_arguments: list[str] = []
        self.is_grid = True
        self.is_own = True
        if self.file.exists():
            self._read()

    @classmethod
    def existing(cls, path: str | Path) -> "SweepFolder":
        """The folder of a sweep that has begun.

        Raises:
            InputError: there is none in the folder, or it is damaged.
        """
        sweep = cls(path)
        if not sweep.path.is_dir():
            raise InputError(f"there is no folder {path}: give the folder that the sweep named, logs/sweeps/NAME/...")
        if not sweep.file.exists() and RunFolder(path).config_file.exists():
            raise InputError(f"{path} is the folder of a single run: go on with it by resume={path}, without -m")
        if not sweep.file.exists():
            raise InputError(f"{path} is no folder of a sweep, it lacks sweep.json: give the one that the sweep named")
        return sweep

    def _read(self) -> None:
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
            self.is_own = is_own(_canonical(content), content.get("seal"))
            self.arguments = [str(a) for a in content["arguments"]]
            self.hydra_arguments = [str(a) for a in content["hydra_arguments"]]
            self.is_grid = bool(content["is_grid"])
            self.jobs = [Job(str(j["folder"]), str(j["key"]), tuple(map(str, j["overrides"]))) for j in content["jobs"]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self.file} is damaged ({error}): restore it, or start a new sweep") from error
        for job in self.jobs:
            if Path(job.folder).is_absolute() or ".." in Path(job.folder).parts:
                raise InputError(f"{self.file} names a folder outside of the sweep, {job.folder}: restore it")

    def write(self) -> None:
        """Keep sweep.json, under the user's seal unless it came from elsewhere, which it then always did."""
        jobs = [asdict(job) for job in self.jobs]
        content: dict[str, Any] = {
            "arguments": self.arguments,
            "hydra_arguments": self.hydra_arguments,
            "is_grid": self.is_grid,
            "jobs": jobs,
        }
        content["seal"] = seal(_canonical(content)) if self.is_own else None
        write_whole(self.file, json.dumps(content, indent=2) + "\n")

    def by_key(self, key: str) -> Job | None:
        """The job with this configuration."""
        return next((job for job in self.jobs if job.key == key), None)

    def by_folder(self, folder: str | Path) -> Job | None:
        """The job in this folder, given in full."""
        return next((job for job in self.jobs if self.folder(job).path == Path(folder)), None)

    def folder(self, job: Job) -> RunFolder:
        """The job's run folder."""
        return RunFolder(self.path / job.folder)

    def shown(self, job: Job) -> str:
        """What sets a job apart from the others, as it is typed."""
        common = set.intersection(*(set(other.overrides) for other in self.jobs)) if len(self.jobs) > 1 else set()
        own = [override for override in job.overrides if override not in common]
        return " ".join(own or job.overrides) or "(no overrides)"

    def add(self, job: Job) -> Job:
        """Add a job, with a number behind its folder's name if that is taken; :meth:`write` keeps it."""
        taken, name, number = {j.folder for j in self.jobs}, job.folder, 0
        while name in taken or (self.path / name).exists():
            number += 1
            name = str(int(job.folder) + number) if job.folder.isdecimal() else f"{job.folder}_{number}"
        job = replace(job, folder=name)
        self.jobs.append(job)
        return job

    def state(self, job: Job) -> State:
        """How far a job has come, by its own files; one that was killed counts as interrupted."""
        folder = self.folder(job)
        if not folder.run_file.exists():
            return "not begun"
        if is_held(folder.path):
            return "running"
        if folder.metrics_file.exists():
            return "finished"
        return "failed" if folder.read_run().get("outcome") == "failed" else "interrupted"

    def error(self, job: Job) -> str:
        """First line of what went wrong with a job; empty if nothing did."""
        return (str(self.folder(job).read_run().get("error") or "").strip().splitlines() or [""])[0]

    def stop(self, why: str, signum: int = 0) -> None:
        """Let no further job start; with a signal's number those that run stop too, and save."""
        write_whole(self.stop_file, json.dumps({"why": why, "signal": signum}) + "\n")

    def stopped(self) -> dict[str, Any] | None:
        """``why`` and ``signal`` (0 for none) where no further job is to start, otherwise None."""
        try:
            found = json.loads(self.stop_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            found = None
        return found if isinstance(found, dict) else {"why": f"{self.stop_file} says so", "signal": 0}

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have the sweep to this process alone; nothing is stopped at first.

        Raises:
            InputError: another process has it.
        """
        making(self.path, "hydra.sweep.dir")
        with held(self.path, "a sweep"):
            self.stop_file.unlink(missing_ok=True)
            yield


def _canonical(content: dict[str, Any]) -> str:
    """What of sweep.json is sealed."""
    return json.dumps({name: value for name, value in content.items() if name != "seal"}, sort_keys=True)
