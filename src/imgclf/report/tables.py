"""Runs with equal settings, their means and spreads over seeds, and their order."""

import datetime
import re
import shlex
from collections.abc import Sequence
from typing import Any

import pandas as pd

from imgclf.errors import InputError
from imgclf.ranges import smaller_is_better
from imgclf.report.runs import DIVERGED, FINISHED, Runs, printable

# What decides which settings are best: the first that there is; the others decide among equals.
CHOOSE_BY = ("best/val/acc", "best/val/loss", "val/acc", "val/loss")
_FIRST = ("best/val/acc", "test/acc", "seconds", "images_per_second", "val/acc", "train/acc", "test/loss", "val/loss")
_OF_THE_RUN = re.compile(r"(name|folder|seed|data\.fold|resume|rerun|trust)$|(sweep|hydra|logger)\.")  # not tried


class Table:
    """The runs of one data set (``about``), grouped by their settings; groups count from 0 in the order of ``sort``."""

    def __init__(self, runs: Runs, about: pd.DataFrame, sort: str | None) -> None:
        settings = runs.settings.loc[about.index].fillna("–")
        keys = [key for key in settings if settings[key].nunique() > 1 and not _OF_THE_RUN.match(key)]
        named = {_key(text) for given in about.overrides.dropna() for text in given}
        found = {"data.mean", "data.std", "trainer.accelerator", "trainer.devices"} - named  # by each run for itself
        keys = [key for key in keys if key not in found and (settings[key] != about.seed).any()]
        self.titles = _titles(settings[keys], about.overrides)  # of the settings that tell groups apart
        self.hidden = [key for key in keys if key not in self.titles]  # differ along with those
        group = settings.groupby(keys, sort=False).ngroup() if keys else pd.Series(0, about.index)
        over_seeds = runs.metrics.loc[about.index].groupby([group, about.repeat]).mean().groupby(level=0)
        mean, std, values = over_seeds.mean(), over_seeds.std(), settings.groupby(group).first()
        mean.loc[group[about.outcome == DIVERGED].unique(), [name for name in mean if "/" in name]] = float("nan")
        chosen = next((name for name in CHOOSE_BY if name in mean and mean[name].notna().any()), None)
        self.validated = chosen  # None where nothing was
        self.sort = sort if sort in mean or sort in self.titles else chosen
        order = _ranked(values, mean, self.sort) if self.sort else list(values.index)
        self.best = order.index(_ranked(values, mean, chosen)[0]) if chosen else None
        self.values, self.mean, self.std = (frame.loc[order].reset_index(drop=True) for frame in (values, mean, std))
        self.runs = about.assign(group=group.map(order.index)).sort_values("group", kind="stable")
        self.metrics = [name for name in dict.fromkeys((self.sort, *_FIRST, *mean)) if name in mean]
        self.metrics = [name for name in self.metrics if name == self.sort or "/acc_of/" not in name]  # report.csv has
        self.texts = self._texts()
        rows = self.texts[list(self.titles.values())].to_dict("records")
        self.labels = [", ".join(f"{title}={text}" for title, text in row.items()) or "all runs" for row in rows]

    def head(self) -> str:
        """How much is reported of which data, and in which order."""
        way = " (smallest first)" if smaller_is_better(str(self.sort)) else " (largest first)"
        order = f"; by {self.sort}{way if self.sort in self.metrics else ''}" if self.sort else ""
        return f"{self.runs.dataset.iloc[0]}: {len(self.runs):,} runs, {len(self.values):,} settings{order}"

    def notes(self) -> list[str]:
        """What a reader must know besides; last, how the best group was made, but for its seed."""
        notes = [f"note: different as well, along with these: {', '.join(self.hidden)}"] * bool(self.hidden)
        if self.validated is None:
            notes.append("note: no finished run was validated, so none is called best")
        elif self.sort != self.validated:
            notes.append(f"note: best is chosen by {self.validated}")
        for given in self.runs.overrides[(self.runs.group == self.best) & (self.runs.outcome == FINISHED)].dropna()[:1]:
            kept = [printable(text) for text in given if _key(text) == "name" or not _OF_THE_RUN.match(_key(text))]
            notes.append(f"best: {shlex.join(['uv', 'run', 'scripts/train.py', *kept])}")
        return notes

    def _texts(self) -> pd.DataFrame:
        """A row a group: settings, seeds, ``0.8421 ± 0.0031`` of metrics or the mean of times, rates and counts."""
        columns = {title: [shown(text, key) for text in self.values[key]] for key, title in self.titles.items()}
        counts = self.runs.groupby(["group", "outcome"]).repeat.nunique().unstack(fill_value=0).to_dict("records")
        done = [str(row.pop(FINISHED, 0)) for row in counts]
        others = [[f"{n} {outcome}" for outcome, n in row.items() if n] for row in counts]
        columns["seeds"] = [", ".join([first, *rest]) for first, rest in zip(done, others, strict=True)]
        for name in self.metrics:
            means = [shown(mean, name) for mean in self.mean[name]]
            spreads = [f" ± {std:.2g}" if "/" in name and std == std else "" for std in self.std[name]]
            columns[name] = [m if m == "–" else m + spread for m, spread in zip(means, spreads, strict=True)]
        return pd.DataFrame(columns)[[*self.titles.values(), *self.metrics[:1], "seeds", *self.metrics[1:]]]


def tables(runs: Runs, sort: str | None) -> list[Table]:
    """A table a data set, of all runs that have begun; an InputError where nothing is called ``sort``."""
    found = [Table(runs, about, sort) for _, about in runs.about[runs.about.begun].groupby("dataset", sort=False)]
    if sort and all(table.sort != sort for table in found):
        names = dict.fromkeys(name for table in found for name in (*table.metrics, *table.titles))
        raise InputError(f"sort={sort}: there is no such metric or differing setting; there are {', '.join(names)}")
    return found


def _titles(settings: pd.DataFrame, overrides: Sequence[Any]) -> dict[str, str]:
    """Short names of what the command line named, and of what else it takes to tell the groups apart."""
    named = {_key(text) for given in overrides for text in given or ()} | {"sweep"}
    keys = [key for key in settings if {key, key.removesuffix("._target_")} & named]
    for key in settings:
        if settings.groupby([*keys, key]).ngroups > (settings.groupby(keys).ngroups if keys else 1):
            keys.append(key)
    ends = [key.removesuffix("._target_").rpartition(".")[2] for key in keys]
    return {key: end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)}


def _ranked(values: pd.DataFrame, mean: pd.DataFrame, by: str) -> list[int]:
    """Groups by a metric, the best first, or by a setting's value; those without come last."""
    columns = {} if by in mean else {"number": pd.to_numeric(values[by], errors="coerce"), "text": values[by]}
    for name in dict.fromkeys(name for name in (by, *CHOOSE_BY) if name in mean):
        columns[name] = mean[name] if smaller_is_better(name) else -mean[name]
    return list(pd.DataFrame(columns).sort_values(list(columns)).index)


def all_runs(runs: Runs, found: Sequence[Table]) -> pd.DataFrame:
    """A row a run, those of the best group first: name, settings that differ, seed, final metrics, outcome, folder."""
    order = list(dict.fromkeys([run for table in found for run in table.runs.index] + list(runs.about.index)))
    keys = list(dict.fromkeys(key for table in found for key in (*table.titles, *table.hidden)))
    folded = "data.folds" in runs.settings and set(runs.settings["data.folds"].dropna()) != {"null"}
    fold = runs.settings.filter(["data.fold"] * folded)
    parts = [runs.about[["name"]], runs.settings[keys], fold, runs.about[["seed"]], runs.metrics]
    return pd.concat([*parts, runs.about[["outcome", "note", "folder"]]], axis=1).loc[order]


def csv_text(frame: pd.DataFrame) -> str:
    """What :func:`all_runs` gives, for a spreadsheet: what that would take for a formula begins with an apostrophe."""

    def harmless(value: Any) -> Any:
        text = value if isinstance(value, float) else printable(value).strip('"')
        return f"'{text}" if re.match(r"[=@]|[+-](?!\d*\.?\d*(e[+-]?\d+)?$)", str(text)) else text

    return frame.rename(columns=harmless).map(harmless).to_csv(index=False, lineterminator="\n")


def _key(override: Any) -> str:
    return str(override).lstrip("+~").partition("=")[0].partition("@")[0].replace("/", ".")


def shown(value: Any, key: str = "") -> str:
    """For a reader: four digits of a number, thousands apart; of a class its name; ``–`` for nothing."""
    if isinstance(value, str) and value.startswith('"'):  # JSON, as all settings are
        return value[1:-1].rpartition(".")[2] if key.endswith("_target_") else value[1:-1]
    if isinstance(value, str) and re.fullmatch(r"-?\d+\.\d{5,}|-?[\d.]{5,}e-\d+", value):
        value = float(value)
    if not isinstance(value, float):
        return str(value)
    if value != value:
        return "–"
    if key == "seconds":
        return f"{value:.1f} s" if value < 60 else str(datetime.timedelta(seconds=round(value)))
    if "/" in key and 0.01 <= abs(value) < 10:
        return f"{value:.4f}"
    return f"{value:,.0f}" if value == round(value) or 1000 <= abs(value) < 1e9 else f"{value:.4g}"
