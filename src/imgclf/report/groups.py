"""Runs with equal settings, their means and spreads over seeds, and their order."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from imgclf.errors import InputError
from imgclf.report.runs import DIVERGED, Run
from imgclf.report.settings import Setting, Settings, identity, settings_of

# What a table begins with; others follow as they come.
METRICS = (
    "best/val/acc",
    "test/acc",
    "val/acc",
    "train/acc",
    "test/loss",
    "val/loss",
    "train/loss",
    "seconds",
    "images_per_second",
    "epochs",
)
_SPEED = ("seconds", "images_per_second")
# What decides which settings are best, the first that there is; the others decide among equals.
_CHOOSE_BY = ("best/val/acc", "best/val/loss", "val/acc")


@dataclass(frozen=True)
class Summary:
    """A metric over seeds.

    Args:
        mean: not a number where it is none in one of the runs.
        spread: sample standard deviation, None for a single seed.
        seeds: how many.
    """

    mean: float
    spread: float | None
    seeds: int


def over_seeds(values: Iterable[tuple[Any, float]]) -> Summary:
    """Mean and sample standard deviation over seeds; several values of one seed count once, with their mean.

    Args:
        values: (seed, value), at least one.
    """
    by_seed: dict[str, list[float]] = {}
    for seed, value in values:
        by_seed.setdefault(identity(seed), []).append(value)
    means = [sum(v) / len(v) for v in by_seed.values()]
    mean = sum(means) / len(means)
    if len(means) == 1:
        return Summary(mean, None, 1)
    squares = sum((m - mean) * (m - mean) for m in means)
    return Summary(mean, math.sqrt(squares / (len(means) - 1)), len(means))


@dataclass
class Group:
    """Runs that differ in nothing but their seeds.

    Args:
        values: of the settings shown, as texts; a question mark each where the configuration cannot be read.
        raw: the same as they are.
        runs: all of them.
        metrics: of those that are finished.
    """

    values: list[str]
    raw: list[Any]
    runs: list[Run]
    metrics: dict[str, Summary]

    @property
    def finished(self) -> list[Run]:
        return [run for run in self.runs if run.is_finished]

    @property
    def seeds(self) -> int:
        """How many seeds have finished."""
        return len({identity(run.seed) for run in self.finished})

    def label(self, titles: Sequence[str]) -> str:
        """``lr=0.3, hidden_sizes=[64]``."""
        pairs = zip(titles, self.values, strict=True)
        return ", ".join(f"{title}={value}" for title, value in pairs) or "all runs"


@dataclass
class Grouped:
    """All runs of a report.

    Args:
        known: runs whose configuration could be read; the settings' values are theirs.
        settings: in which they differ.
        groups: in the order that ``sort`` gives, best first; None where nothing was validated: as they were found.
        sort: a metric, or the key of a setting.
        validated: the metric that decides what is best; None where nothing was validated.
        best: the group that it decides for; None where there is none, or all diverged.
        metric_names: all there are.
    """

    known: list[Run]
    settings: Settings
    groups: list[Group]
    sort: str | None
    validated: str | None
    best: Group | None
    metric_names: list[str]

    @property
    def titles(self) -> list[str]:
        return [setting.title for setting in self.settings.shown]


def grouped(runs: Sequence[Run], sort: str | None) -> Grouped:
    """Group runs by their settings and put the best first: validation decides, never the test.

    Args:
        runs: of one folder, or of several, which are then kept apart.
        sort: a metric (losses and seconds: the lowest first) or a setting's key or title; None for the validation
            accuracy of the tested epoch, where there is none that of the last.

    Raises:
        InputError: there is nothing called ``sort``.
    """
    known = [run for run in runs if run.settings is not None]
    settings = settings_of([run.settings or {} for run in known], [run.overrides or [] for run in known])
    sources = list(dict.fromkeys(run.source for run in runs))
    if len(sources) > 1 and known:
        settings.shown.insert(0, Setting("sweep", "sweep", [run.source for run in known]))
    found: dict[Any, Group] = {}
    every = settings.shown + settings.hidden
    for i, run in enumerate(known):
        key = tuple(setting.identities[i] for setting in every)
        if key not in found:
            found[key] = Group([s.shown(i) for s in settings.shown], [s.values[i] for s in settings.shown], [], {})
        found[key].runs.append(run)
    groups = list(found.values())
    unknown = [run for run in runs if run.settings is None]
    groups += [Group(["?"] * len(settings.shown), [None] * len(settings.shown), [run], {}) for run in unknown]
    for group in groups:
        group.metrics = _summaries(group.finished)
    names = metric_names(runs)
    validated = next((name for name in (_CHOOSE_BY[0], _CHOOSE_BY[-1]) if name in names), None)
    best = min(groups, key=lambda group: _rank(group, validated, settings)) if validated else None
    if best is not None and best.finished and all(run.outcome == DIVERGED for run in best.finished):
        best = None
    chosen = validated if sort is None else _sort_key(sort, names, settings)
    if chosen is not None:
        groups.sort(key=lambda group: _rank(group, chosen, settings))
    return Grouped(known, settings, groups, chosen, validated, best, names)


def metric_names(runs: Iterable[Run]) -> list[str]:
    """All final metrics, accuracies first."""
    names = dict.fromkeys(name for run in runs for name in run.metrics or {})
    return [name for name in METRICS if name in names] + [name for name in names if name not in METRICS]


def _summaries(runs: Sequence[Run]) -> dict[str, Summary]:
    names = metric_names(runs)
    pairs = {name: [(run.seed, run.metrics[name]) for run in runs if name in (run.metrics or {})] for name in names}  # type: ignore[index]
    return {name: over_seeds(values) for name, values in pairs.items()}


def _sort_key(sort: str, names: Sequence[str], settings: Settings) -> str:
    for setting in settings.shown:
        if sort in (setting.key, setting.title, setting.key.removesuffix("._target_")):
            return setting.key
    if sort in names:
        return sort
    choices = [*names, *(setting.title for setting in settings.shown)]
    raise InputError(f"sort={sort}: there is no such metric or differing setting; there are {', '.join(choices)}")


def lowest_is_best(metric: str) -> bool:
    """Whether less of a metric is better."""
    return "loss" in metric or metric == "seconds"


def _rank(group: Group, sort: str, settings: Settings) -> tuple[Any, ...]:
    for i, setting in enumerate(settings.shown):
        if setting.key == sort:
            return (0, *order_of(group.raw[i]))
    ranks: list[float] = []
    for name in (sort, *_CHOOSE_BY):
        value = group.metrics[name].mean if name in group.metrics else math.nan
        if name.startswith("best/") and any(run.outcome == DIVERGED for run in group.runs):
            value = math.nan  # of an epoch before it diverged, whatever that came to
        best_last = value if lowest_is_best(name) else -value
        ranks += [1.0, 0.0] if math.isnan(value) else [0.0, best_last]
    return (0, *ranks)


def order_of(value: Any) -> tuple[int, float, str]:
    """Sorts values of a setting: numbers by size, lists of numbers by length, then texts, absent ones last."""
    if isinstance(value, bool):
        return (2, float(value), "")
    if isinstance(value, int | float) and not math.isnan(value):
        return (0, float(value), "")
    if isinstance(value, list):
        return (1, float(len(value)), " ".join(f"{item:024.9f}" if _is_number(item) else str(item) for item in value))
    return (4, 0.0, "") if value is None else (3, 0.0, str(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_speed(metric: str) -> bool:
    """Whether a metric is of the machine rather than of the network."""
    return metric in _SPEED
