"""Which jobs a sweep has, which of them still have to run, and in which folders."""

import importlib
from collections.abc import Iterable, Sequence

from omegaconf import DictConfig, OmegaConf

from imgclf.config.annotations import show
from imgclf.config.command_line import hydra_overrides, task_overrides
from imgclf.errors import InputError
from imgclf.sweep.points import Point, compose, own
from imgclf.sweep.settings import Settings
from imgclf.sweep_folder import Job, SweepFolder

# Launchers whose jobs run on this machine.
_HERE = ("BasicLauncher", "JoblibLauncher", "LocalLauncher")
_MOST_CHANGES = 5  # keys named in a message


class Plan:
    """A sweep in the process that runs it.

    Args:
        master: configuration of the whole sweep.
        folder: of the sweep.
        settings: how it runs.
    """

    def __init__(self, master: DictConfig, folder: SweepFolder, settings: Settings) -> None:
        self.master = master
        self.folder = folder
        self.settings = settings
        self.asked: list[Job] = []  # by this command
        self.as_before = False  # the command names the folder alone: all its jobs are asked for
        self._points: dict[tuple[str, ...], Point] = {}

    def check(self, overrides: Iterable[Sequence[str]], *, once_each: bool) -> None:
        """Compose and check points, all of them before anything is said to be wrong.

        Args:
            overrides: of the points; known ones are skipped.
            once_each: refuse two points with the same configuration.

        Raises:
            InputError: values are wrong.
            Refused: a point cannot be composed.
        """
        problems: dict[str, list[str]] = {}
        new: list[Point] = []
        for place, given in enumerate(overrides):
            if own(given) in self._points and not once_each:
                continue
            try:
                point = compose(self.master, own(given), place)
            except InputError as error:
                problems.setdefault(str(error), []).append(" ".join(own(given)))
                continue
            new.append(point)
        _refuse(problems)
        if once_each:
            _refuse_equals(new)
        self._refuse_changes(new)
        unfinished = [p for p in new if (job := self.folder.by_key(p.key)) is None or not self._is_finished(job)]
        if self.settings.preflight and unfinished:
            preflight = importlib.import_module("imgclf.sweep.preflight")  # loads torch
            is_here = self.master.hydra.launcher._target_.endswith(_HERE)
            found = preflight.build_all(unfinished, here=is_here)
            _refuse({problem: [" ".join(p.overrides) for p in points] for problem, points in found.items()})
        self._points |= {point.overrides: point for point in new}

    def jobs(self, overrides: Sequence[Sequence[str]]) -> list[Job]:
        """The jobs of a batch of points, with a folder each; points with the same configuration share one.

        Args:
            overrides: of the points.

        Raises:
            InputError: a point is wrong, or its job is being run by another process.
        """
        self.check([given for given in overrides if own(given) not in self._points], once_each=False)
        jobs = []
        for given in overrides:
            point = self._points[own(given)]
            job = self.folder.by_key(point.key)
            jobs.append(job or self.folder.add(Job(point.folder, point.key, point.overrides)))
        self.folder.write()
        self.asked += [job for job in jobs if job not in self.asked]
        running = [job.folder for job in jobs if self.folder.state(job) == "running"]
        if running:
            raise InputError(
                f"another process is still at work in {', '.join(running)} of {self.folder.path}: wait for its end, "
                "or stop it"
            )
        return jobs

    def announce(self, jobs: Sequence[Job], todo: Sequence[Job]) -> None:
        """Say how many jobs there are and where."""
        begun = [job for job in todo if self.folder.state(job) != "not begun"]
        counts = [(len(jobs) - len(todo), "finished before"), (len(begun), "to go on with")]
        told = ", ".join(f"{count} {what}" for count, what in [*counts, (len(todo) - len(begun), "to begin")] if count)
        print(f"sweep of {len(jobs)} jobs ({told}) in {self.folder.path}", flush=True)

    def record(self, *, is_grid: bool) -> None:
        """Keep what the command line said, for going on with the sweep without saying it again."""
        given = task_overrides(self.master.hydra)
        arguments = list(own(given))
        if not is_grid:  # what a search was told of its first trials it is told of all
            told = ("sweep.objective=", "sweep.seeds=")
            arguments += [a for a in given if a.startswith(told)]
        if arguments or not self.folder.file.exists():
            self.folder.arguments = arguments
        skipped = ("hydra.sweep.dir=", "hydra.mode=")
        self.folder.hydra_arguments = [a for a in hydra_overrides(self.master.hydra) if not a.startswith(skipped)]
        self.folder.is_grid = is_grid
        self.folder.write()

    def _is_finished(self, job: Job) -> bool:
        return self.folder.folder(job).metrics_file.exists()

    def _refuse_changes(self, points: Sequence[Point]) -> None:
        """A job that has begun must not be trained again, in another folder, because a YAML file was changed."""
        for point in points:
            if self.folder.by_key(point.key) is not None:
                continue
            job = next((j for j in self.folder.jobs if set(j.overrides) == set(point.overrides)), None)
            if job is None:
                continue
            if not self._is_finished(job) and not self.folder.folder(job).last.exists():
                self.folder.jobs.remove(job)  # there is nothing to lose; its point gets a new folder
                continue
            changes = _changes(self.folder.folder(job).read_config(), point)
            raise InputError(
                f"{self.folder.path / job.folder} ({' '.join(job.overrides)}) was begun with another configuration: "
                f"{'; '.join(changes) or 'it differs'}. Give these keys their old values, or start a new sweep"
            )


def _refuse(problems: dict[str, list[str]]) -> None:
    if problems:
        lines = []
        for problem, jobs in problems.items():
            more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
            lines.append(f"{problem}\nin the job {jobs[0] or '(no overrides)'}{more}")
        raise InputError("\n".join(lines) + "\nNo job was started.")


def _refuse_equals(points: Sequence[Point]) -> None:
    seen: dict[str, Point] = {}
    for point in points:
        if point.key in seen:
            raise InputError(
                "two jobs have the same configuration, would come to the same numbers, and would count twice in every "
                f"average:\n  {' '.join(seen[point.key].overrides)}\n  {' '.join(point.overrides)}\n"
                "Leave one of them out. No job was started."
            )
        seen[point.key] = point


def _changes(before: dict[str, object], point: Point) -> list[str]:
    now = OmegaConf.to_container(point.config)
    assert isinstance(now, dict)
    old, new = _flat(before), _flat({str(k): v for k, v in now.items() if k != "folder"})
    names = [name for name in {**old, **new} if (name in old, old.get(name)) != (name in new, new.get(name))]
    shown = [
        f"{name} was {show(old[name]) if name in old else 'not there'}, is {show(new[name]) if name in new else 'gone'}"
        for name in names
        if name != "name"
    ]
    return shown[:_MOST_CHANGES] + ([f"{len(shown) - _MOST_CHANGES} more"] if len(shown) > _MOST_CHANGES else [])


def _flat(node: dict[str, object], path: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in node.items():
        if isinstance(value, dict):
            flat |= _flat({str(k): v for k, v in value.items()}, f"{path}{name}.")
        else:
            flat[f"{path}{name}"] = value
    return flat
