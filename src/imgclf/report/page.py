"""report.html: one page that needs nothing else. All texts are escaped: by jinja2, or in figures for plotly."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from imgclf.report.runs import FINISHED, Runs
from imgclf.report.tables import Table, all_runs, shown

_CURVES = ("train/loss", "val/loss", "train/acc", "val/acc", "lr")
_SHOWN, _POINTS = 50, 200  # lines that are shown at first; points of each
_SEVERAL = 5  # groups that make a search


def page(runs: Runs, found: Sequence[Table], title: str) -> str:
    """The whole text."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    sections = []
    for table in found:
        figures = _figures(table, runs.curves)
        # JSON has these signs in texts alone, where plotly takes them for HTML.
        text = Markup(json.dumps(figures).replace("&", "&amp;").replace("<", "&lt;"))
        sections.append((table, text, len(figures)))
    return environment.get_template("page.html.j2").render(
        title=title,
        plotly=get_plotlyjs(),
        sections=sections,
        outcomes=", ".join(f"{count:,} {outcome}" for outcome, count in runs.about.outcome.value_counts().items()),
        runs=all_runs(runs, found)
        .filter(regex="^(?!.*/acc_of/)")
        .apply(lambda column: [shown(value, str(column.name)) for value in column]),
        problems=runs.problems,
    )


def _figures(table: Table, curves: pd.DataFrame) -> list[dict[str, Any]]:
    """Curves; a point a group for each setting; of a search, parallel coordinates and Spearman's rank correlations."""
    curves = curves[curves.run.isin(table.runs.index)].dropna(axis="columns", how="all")
    names = [name for name in _CURVES if name in curves]
    figures = [_curves(table, curves, names)] if names else []
    if len(table.values) < 2 or not table.metrics:
        return figures
    mean, std = (frame[table.metrics[0]] for frame in (table.mean, table.std))
    texts, settings = table.texts, pd.DataFrame(index=mean.index)
    for key, title in table.titles.items():
        numbers = pd.to_numeric(table.values[key], errors="coerce")
        in_order = sorted(set(texts[title]), key=lambda text: (len(text), text))  # [8] before [16]
        settings[title] = numbers if numbers.notna().all() else pd.Categorical(texts[title], in_order)
        points = {"mode": "markers", "x": settings[title].tolist(), "y": mean.tolist(), "text": table.labels}
        points |= {"error_y": {"array": std.fillna(0).tolist(), "thickness": 1}, "marker": {"opacity": 0.7}}
        layout = {"xaxis": _axis(settings[title]), "yaxis": _axis(mean), "height": 320}
        figures.append({"data": [points], "layout": layout})
    if mean.count() < _SEVERAL:
        return figures
    settings, mean, dimensions = settings[mean.notna()], mean.dropna(), list[dict[str, Any]]()
    for title, values in settings.items():  # each axis in the order of its values
        places, choices = pd.factorize(values, sort=True)
        ticks = np.unique(np.linspace(0, len(choices) - 1, 8).astype(int)).tolist()
        axis = {"label": title, "tickvals": ticks, "ticktext": [shown(choices[tick]) for tick in ticks]}
        dimensions.append(axis | {"values": places.tolist()})
    dimensions.append({"label": mean.name, "values": mean.tolist()})
    lines = {"type": "parcoords", "dimensions": dimensions, "line": {"color": mean.tolist(), "colorscale": "Viridis"}}
    ranks = settings.select_dtypes("number").rank().corrwith(mean.rank()).dropna()
    lost = int(table.mean[mean.name].isna().sum())
    left = f"; {lost} without one, diverged or not finished, left out" * bool(lost)
    told = ", ".join(f"{title} {value:+.2f}" for title, value in ranks.items()) or "none, for no setting is a number"
    text = f"Spearman's rank correlation with {mean.name}: {told}{left}"
    heading = {"text": text, "font": {"size": 13}, "y": 0.98}
    figures.append({"data": [lines], "layout": {"title": heading, "height": 400, "margin": {"t": 90, "l": 80}}})
    return figures


def _curves(table: Table, curves: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    """A line a group, the mean over its seeds; runs that have not finished by themselves, dashed."""
    axes = ["", "2", "3", "4", "5"][: len(names)]
    apart = curves.run.where(curves.run.map(table.runs.outcome) != FINISHED, -1).rename("apart")
    keys = [curves.run.map(table.runs.group).rename("group"), apart, "epoch"]
    labels, data, minutes = table.labels, [], []
    curves = curves.assign(minutes=curves.get("seconds", 0 * curves.epoch).groupby(curves.run).cumsum() / 60)
    together = curves.groupby(keys)
    means, seeds = together[[*names, "minutes"]].agg(["mean", "std"]), together.size()
    means = means[seeds == seeds.groupby(level=[0, 1]).transform("max")]  # while all of them go on
    for (group, run), line in means.groupby(level=[0, 1]):
        line = line.iloc[np.linspace(0, len(line) - 1, min(len(line), _POINTS)).astype(int)]
        line = line.map(lambda value: float(f"{value:.6g}"))  # digits that count, also of a rate of 4e-7
        which = f" ({table.runs['name'][run]}: {table.runs.outcome[run]})" if run >= 0 else ""
        shared = {"name": labels[group] + which, "legendgroup": f"{group} {run}"}
        shared |= {"x": [int(epoch) + 1 for *_, epoch in line.index], "mode": "lines" if len(line) > 1 else "markers"}
        shared |= {"line": {"color": f"hsl({137.5 * group % 360:.0f}, 65%, 45%)", "dash": "dash" if which else "solid"}}
        shared |= {"visible": True if group < _SHOWN else "legendonly", "connectgaps": True}  # of epochs not validated
        minutes += len(names) * [line["minutes", "mean"].tolist()]
        for axis, (mean, std) in zip(axes, line[names].to_numpy().T.reshape(len(names), 2, -1), strict=True):
            hover = "%{xaxis.title.text} %{x}: %{y:.4g}" + " ± %{customdata:.2g}" * bool(np.isfinite(std).any())
            values = {"y": mean.tolist(), "customdata": std.tolist(), "hovertemplate": hover}
            data.append(shared | values | {"yaxis": f"y{axis}", "showlegend": not axis})
    layout: dict[str, Any] = {f"yaxis{axis}": _axis(curves[name]) for axis, name in zip(axes, names, strict=True)}
    layout |= {"grid": {"rows": len(names), "ygap": 0.15, "subplots": [[f"xy{axis}"] for axis in axes]}}
    layout |= {"xaxis": {"title": {"text": "epoch"}}, "height": 150 + 210 * len(names)}
    layout |= {"legend": {"orientation": "h", "y": -0.06, "yanchor": "top", "maxheight": 120}}
    ways = {"epoch": [line["x"] for line in data], "minutes": minutes}
    choices = [
        {"label": f"by {way}", "method": "update", "args": [{"x": x}, {"xaxis.title.text": way}]}
        for way, x in ways.items()
    ]
    place = {"x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"}
    layout["updatemenus"] = [{"type": "buttons", "direction": "right", "buttons": choices} | place]
    return {"data": data, "layout": layout}


def _axis(values: pd.Series) -> dict[str, Any]:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return {"title": {"text": values.name}, "type": "category", "categoryarray": list(values.cat.categories)}
    is_log = "acc" not in str(values.name) and values.max() >= 10 * values.min() > 0
    return {"title": {"text": values.name}, "type": "log" if is_log else "linear", "minorloglabels": "complete"}
