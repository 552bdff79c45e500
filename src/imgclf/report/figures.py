"""The charts of a report: learning curves, what each setting does, learning rates."""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from imgclf.report.groups import METRICS, Group, Grouped, Summary, order_of, over_seeds
from imgclf.report.runs import FINISHED, Run
from imgclf.report.settings import Setting
from imgclf.report.svg import COLOURS, GREY, Axis, Panel
from imgclf.report.text import counted, decimal, mean_and_spread

CURVES = ("train/loss", "val/loss", "train/acc", "val/acc")
_MOST_GREY = 200  # lines behind the coloured ones
_MOST_CATEGORIES = 24
_SEVERAL = 5  # runs of which a box says more than dots alone
_DECADE = 10.0  # largest over smallest value from which an axis is logarithmic


Measured = tuple[int, Run, float]  # place among the runs, the run, its metric


@dataclass
class Figure:
    """Charts that belong together.

    Args:
        title: above them.
        caption: how to read them.
        legend: (colour, text), the best first.
        panels: the charts.
    """

    title: str
    caption: str
    legend: list[tuple[str, str]]
    panels: list[Panel]


def learning_curves(report: Grouped) -> Figure | None:
    """Loss and accuracy by epoch: a line a setting, the mean over its seeds; None where no run has an epoch."""
    drawn = [(group, COLOURS[i] if i < len(COLOURS) else GREY) for i, group in enumerate(_with_epochs(report))]
    drawn = drawn[: len(COLOURS) + _MOST_GREY]
    names = [name for name in CURVES if any(_has(run, name) for group, _ in drawn for run in group.runs)]
    if not names:
        return None
    panels, beyond = [], False
    for name in names:
        lines = [(group, colour, _curves(group, name)) for group, colour in reversed(drawn)]
        coloured = [s for _, colour, curves in lines if colour != GREY for curve in curves for _, s in curve.points]
        values = [s.mean for _, _, curves in lines for curve in curves for _, s in curve.points]
        values += [s.mean + sign * s.spread for s in coloured if s.spread is not None for sign in (-1, 1)]
        limit = _limit(values)
        beyond = beyond or any(value > limit for value in values)
        inside = [value for value in values if value <= limit]
        epochs = [float(epoch) for _, _, curves in lines for curve in curves for epoch, _ in curve.points]
        log = "loss" in name and _spans_decades(inside)
        panel = Panel(name.replace("/", " "), Axis.of(epochs, "epoch", whole=True), Axis.of(inside, log=log))
        for group, colour, curves in lines:
            for curve in curves:
                label = f"{group.label(report.titles)}{curve.label}"
                panel.line([(e, s.mean) for e, s in curve.points], colour, label, dashed=curve.dashed)
                spreads = [(e, s.mean, s.spread) for e, s in curve.points if s.spread is not None]
                if colour != GREY:
                    panel.band([(e, mean - spread, mean + spread) for e, mean, spread in spreads], colour)
        panels.append(panel)
    caption = "A line a setting: mean over seeds, the band one standard deviation to either side. "
    caption += "Dashed: single runs that diverged or have not finished. "
    if len(drawn) > len(COLOURS):
        caption += f"In colour the first {len(COLOURS)} of the table, the next {len(drawn) - len(COLOURS)} in grey. "
    if beyond:
        caption += "Values far beyond the others lie outside the frame. "
    legend = [(colour, _legend(report, group)) for group, colour in drawn if colour != GREY]
    return Figure("Learning curves", caption, legend, panels)


def effects(report: Grouped) -> Figure | None:
    """For each setting that differs, the metric against its values; None where there is nothing to compare."""
    metric = _metric(report)
    if metric is None:
        return None
    panels = []
    for setting in report.settings.shown:
        runs = [(i, run) for i, run in enumerate(report.known) if metric in (run.metrics or {})]
        if len({setting.identities[i] for i, _ in runs}) > 1:
            panels.append(_effect(setting, runs, metric))
    if not panels:
        return None
    caption = (
        "A dot a run, hollow where a loss is no number. The line joins the means over all runs with that value; where "
    )
    caption += "values are no numbers a bar is the mean, and a box reaches from the lower to the upper quartile."
    return Figure(f"What each setting does to {metric.replace('/', ' ')}", caption, [], panels)


def learning_rates(report: Grouped) -> Figure | None:
    """The rate of each epoch's first batch, a line for each course; None where no run has an epoch."""
    courses: dict[Any, list[Group]] = {}
    for group in _with_epochs(report):
        run = max(group.runs, key=lambda run: len(run.table.epochs))
        if _has(run, "lr"):
            courses.setdefault((tuple(run.table.epochs), tuple(map(str, run.table.columns["lr"]))), []).append(group)
    if not courses:
        return None
    rates = [float(rate) for _, column in courses for rate in column]
    epochs = [epoch + 1.0 for numbers, _ in courses for epoch in numbers]
    panel = Panel(
        "learning rate", Axis.of(epochs, "epoch", whole=True), Axis.of(rates, log=_spans_decades(rates)), width=560
    )
    lines = [(COLOURS[i] if i < len(COLOURS) else GREY, *item) for i, item in enumerate(courses.items())]
    names = _course_names(report, list(courses.values()))
    for (colour, (numbers, column), _), name in reversed(list(zip(lines, names, strict=True))):
        panel.line([(e + 1.0, float(rate)) for e, rate in zip(numbers, column, strict=True)], colour, name)
    legend = [(line[0], name) for line, name in zip(lines, names, strict=True)][: len(COLOURS)]
    caption = "At each epoch's first batch; settings with the same course share a line."
    return Figure("Learning rates", caption, legend, [panel])


@dataclass
class _Curve:
    points: list[tuple[float, Summary]]
    label: str = ""
    dashed: bool = False


def _curves(group: Group, name: str) -> list[_Curve]:
    """The mean over whole runs, and each of the others by itself."""
    whole = [run for run in group.runs if run.outcome == FINISHED and _has(run, name)]
    others = [run for run in group.runs if run.outcome != FINISHED and _has(run, name)]
    curves = [_Curve(_over_epochs([run], name), f" ({run.name}: {run.outcome})", dashed=True) for run in others]
    return [_Curve(_over_epochs(whole, name)), *curves] if whole else curves


def _over_epochs(runs: Sequence[Run], name: str) -> list[tuple[float, Summary]]:
    by_epoch: dict[int, list[tuple[Any, float]]] = {}
    for run in runs:
        for epoch, value in zip(run.table.epochs, run.table.columns[name], strict=True):
            by_epoch.setdefault(epoch, []).append((run.seed, value))
    return [(epoch + 1.0, over_seeds(values)) for epoch, values in sorted(by_epoch.items())]


def _with_epochs(report: Grouped) -> list[Group]:
    return [group for group in report.groups if any(run.table for run in group.runs)]


def _has(run: Run, name: str) -> bool:
    return any(map(math.isfinite, run.table.columns.get(name, ())))


def _limit(values: Iterable[float]) -> float:
    """What a frame need not show: fifty times the median, where one run diverges among many."""
    good = [value for value in values if math.isfinite(value)]
    return 50 * max(statistics.median(good), 0.0) if good else math.inf


def _spans_decades(values: Iterable[float]) -> bool:
    good = [value for value in values if math.isfinite(value)]
    return bool(good) and min(good) > 0 and max(good) >= _DECADE * min(good)


def _metric(report: Grouped) -> str | None:
    wanted = [report.sort, *METRICS[:7]]
    return next((name for name in wanted if name in report.metric_names), None)


def _legend(report: Grouped, group: Group) -> str:
    metric = _metric(report)
    summary = group.metrics.get(metric) if metric else None
    label = group.label(report.titles)
    if summary is None or metric is None:
        return label
    name = metric.replace("/", " ")
    return f"{label}: {name} {mean_and_spread(summary.mean, summary.spread)} ({counted(summary.seeds, 'seed')})"


def _course_names(report: Grouped, courses: Sequence[Sequence[Group]]) -> list[str]:
    """What tells the courses apart: the optimizer's and schedule's settings where they do, else all."""
    keys = [setting.key for setting in report.settings.shown]
    short = [i for i, key in enumerate(keys) if key.startswith(("optimizer.", "schedule.", "trainer."))]

    def name(group: Group, places: Sequence[int]) -> str:
        return ", ".join(f"{report.titles[i]}={group.values[i]}" for i in places)

    names = [name(course[0], short) for course in courses]
    if len(set(names)) < len(names):
        names = [name(course[0], range(len(keys))) for course in courses]
        more = [f" and {counted(len(course) - 1, 'more setting')}" if len(course) > 1 else "" for course in courses]
        names = [a + b for a, b in zip(names, more, strict=True)]
    return [name or "all runs" for name in names]


def _effect(setting: Setting, runs: Sequence[tuple[int, Run]], metric: str) -> Panel:
    measured = [(i, run, (run.metrics or {})[metric]) for i, run in runs]
    y = Axis.of([v for _, _, v in measured], log="loss" in metric and _spans_decades(v for _, _, v in measured))
    title, key = f"{metric.replace('/', ' ')} by {setting.title}", setting.key.removesuffix("._target_")
    values: list[Any] = [setting.values[i] for i, _, _ in measured]
    if all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values):
        numbers = [float(v) for v in values]
        at = _by_place(numbers, measured)
        panel = Panel(title, Axis.of(numbers, key, log=_spans_decades(numbers), at=at), y)
        _dots(panel, setting, numbers, measured)
        if len(at) <= max(_MOST_CATEGORIES, len(runs)) / 2:
            panel.line([(x, _mean(at[x])) for x in sorted(at)], COLOURS[1], "mean")
        return panel
    order = sorted(
        {setting.identities[i]: i for i, _, _ in measured}.values(), key=lambda i: order_of(setting.values[i])
    )
    rank = {setting.identities[i]: float(n) for n, i in enumerate(order[:_MOST_CATEGORIES])}
    label = key + (f" (the first {len(rank)} of {len(order)} values)" if len(rank) < len(order) else "")
    names = [setting.shown(i) for i in order[: len(rank)]]
    panel = Panel(title, Axis.of_categories(names, label), y, width=max(440, min(1000, 60 * len(names))))
    measured = [m for m in measured if setting.identities[m[0]] in rank]
    places = [rank[setting.identities[i]] for i, _, _ in measured]
    _dots(panel, setting, _beside(places), measured)
    for place, found in _by_place(places, measured).items():
        _box(panel, place, found)
    return panel


def _dots(panel: Panel, setting: Setting, places: Sequence[float], measured: Sequence[Measured]) -> None:
    radius = 3.5 if len(measured) <= 200 else 2
    for x, (i, run, value) in zip(places, measured, strict=True):
        name = f"{run.name}: {setting.shown(i)}, seed {run.seed}: {decimal(value)}"
        panel.dot(x, value, COLOURS[0], name, hollow=run.outcome != FINISHED, radius=radius)


def _by_place(places: Sequence[float], measured: Sequence[Measured]) -> dict[float, list[float]]:
    found: dict[float, list[float]] = {}
    for place, (_, _, value) in zip(places, measured, strict=True):
        found.setdefault(place, []).append(value)
    return found


def _beside(columns: Sequence[float]) -> list[float]:
    """Places of dots beside each other rather than on top of each other, in the order of the runs."""
    counts, done = Counter(columns), Counter[float]()
    places = []
    for column in columns:
        step = min(0.08, 0.5 / counts[column])
        places.append(column + (done[column] - (counts[column] - 1) / 2) * step)
        done[column] += 1
    return places


def _box(panel: Panel, place: float, values: Sequence[float]) -> None:
    good = [value for value in values if math.isfinite(value)]
    if len(good) >= _SEVERAL:
        lower, _, upper = statistics.quantiles(good, n=4, method="inclusive")
        panel.band([(place - 0.25, lower, upper), (place + 0.25, lower, upper)], COLOURS[1])
    mean = _mean(values)
    panel.line([(place - 0.25, mean), (place + 0.25, mean)], COLOURS[1], "mean")


def _mean(values: Iterable[float]) -> float:
    good = [value for value in values if math.isfinite(value)]
    return sum(good) / len(good) if good else math.nan
