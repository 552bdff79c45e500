"""report.html: one file that needs nothing else, opened from disk.

Everything that comes from run folders is escaped, and a content security policy lets no script run but the page's
own, by its hash, and nothing be fetched.
"""

import base64
import hashlib
import math
import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from imgclf.report.figures import Figure, effects, learning_curves, learning_rates
from imgclf.report.groups import Group, Grouped
from imgclf.report.runs import Run
from imgclf.report.settings import ABSENT
from imgclf.report.terminal import best_command, metric_cell, metric_title, not_finished, notes, seeds_cell
from imgclf.report.text import counted, number, plain_metric, printable

_HERE = Path(__file__).parent


def page(report: Grouped, runs: Sequence[Run], title: str, out: Path) -> str:
    """The whole page.

    Args:
        report: the groups.
        runs: all runs, in order.
        title: what is reported.
        out: folder of the page, from which links lead to the runs.
    """
    style, script = ((_HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    figures = [figure for figure in (learning_curves(report), effects(report), learning_rates(report)) if figure]
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(printable(title))}</title>",
        f"<style>{style}</style></head><body>",
        f"<h1>{escape(printable(title))}</h1>",
        *_summary(report, runs),
        *_settings_table(report),
        *_not_finished(runs),
        *_damaged(runs),
        *(text for figure in figures for text in _figure(figure)),
        *_runs_table(report, runs, out),
        f"<script>{script}</script></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _summary(report: Grouped, runs: Sequence[Run]) -> Iterable[str]:
    outcomes: dict[str, int] = {}
    for run in runs:
        outcomes[run.outcome] = outcomes.get(run.outcome, 0) + 1
    counts = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(outcomes.items(), key=lambda o: -o[1]))
    yield f"<p>{counted(len(runs), 'run')} ({escape(counts)}) of {counted(len(report.groups), 'setting')}</p>"
    command = best_command(report)
    if command:
        yield f"<p>Best: <code>{escape(command)}</code></p>"
    for note in notes(report, runs):
        yield f'<p class="quiet">{escape(note)}</p>'


def _settings_table(report: Grouped) -> Iterable[str]:
    groups = [group for group in report.groups if group.metrics]
    if not groups:
        return
    metrics = report.metric_names
    wanted = [report.sort] if report.sort in metrics else []
    names = list(dict.fromkeys([*wanted, *metrics]))
    yield "<h2>Settings</h2>"
    order = f"By {escape(metric_title(report.sort))}; mean" if report.sort else "Mean"
    yield f'<p class="quiet">{order} ± sample standard deviation over seeds. Train and val: the last epoch; best: the '
    yield "epoch with the best validation, which is tested. A click on a head sorts.</p>"
    rows = [[*_values(report, group), (seeds_cell(group), str(group.seeds)), *_means(group, names)] for group in groups]
    yield from _table([*report.titles, "seeds", *map(metric_title, names)], rows)


def _values(report: Grouped, group: Group) -> list[tuple[str, str]]:
    raws = zip(group.values, group.raw, strict=True)
    return [(text, str(raw) if number(raw) is not None else "" if raw is ABSENT else text) for text, raw in raws]


def _means(group: Group, names: Sequence[str]) -> list[tuple[str, str]]:
    cells = []
    for name in names:
        mean = group.metrics[name].mean if name in group.metrics else math.nan
        cells.append((metric_cell(group, name), repr(mean) if math.isfinite(mean) else ""))
    return cells


def _not_finished(runs: Sequence[Run]) -> Iterable[str]:
    found = not_finished(runs)
    if found:
        yield f"<h2>Not finished or diverged ({len(found):,})</h2>"
        yield from _table(["run", "outcome", ""], [[(r.name, r.name), (r.outcome, ""), (r.note, "")] for r in found])


def _damaged(runs: Sequence[Run]) -> Iterable[str]:
    found = [(run, problem) for run in runs for problem in run.problems]
    if found:
        yield f"<h2>Damaged or missing ({len(found):,})</h2>"
        yield from _table(["run", "file"], [[(run.name, run.name), (problem, "")] for run, problem in found])


def _runs_table(report: Grouped, runs: Sequence[Run], out: Path) -> Iterable[str]:
    yield f"<details><summary>All runs ({len(runs):,})</summary>"
    names = report.metric_names
    rows, links = [], []
    for group in report.groups:
        for run in group.runs:
            seed = "" if run.seed is None else printable(str(run.seed))
            numbers = [_metric(name, (run.metrics or {}).get(name)) for name in names]
            rows.append([(run.name, run.name), *_values(report, group), (seed, seed), *numbers, (run.outcome, "")])
            links.append(_link(run.folder, out))
    yield from _table(["run", *report.titles, "seed", *map(metric_title, names), "outcome"], rows, links)
    yield "</details>"


def _metric(name: str, value: float | None) -> tuple[str, str]:
    if value is None:
        return "", ""
    if math.isnan(value):
        return "diverged" if "/" in name else "", ""
    return plain_metric(name, value), repr(value)


def _link(folder: Path, out: Path) -> str:
    """From the page to a run's folder; ``./`` in front, so that no name can be taken for a protocol."""
    relative = os.path.relpath(folder.absolute(), out.absolute()).replace(os.sep, "/")
    return "./" + quote(relative.encode("utf-8", "surrogateescape"))


def _table(
    titles: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]], links: Sequence[str] = ()
) -> Iterable[str]:
    """Cells are (text, what to sort by: the text where it is empty and the text no number)."""
    numeric = [_is_numeric([row[i] for row in rows]) for i in range(len(titles))]
    yield f'<div class="scroll{" tall" if len(rows) > 20 else ""}"><table class="sortable"><thead><tr>'
    yield "".join(f"<th{_class(n)}>{escape(title)}</th>" for title, n in zip(titles, numeric, strict=True))
    yield "</tr></thead><tbody>"
    for place, row in enumerate(rows):
        cells = []
        for i, ((text, key), is_number) in enumerate(zip(row, numeric, strict=True)):
            inner = escape(text)
            if links and i == 0:
                inner = f'<a href="{escape(links[place])}">{inner}</a>'
            sort_by = f' data-value="{escape(key)}"' if is_number else ""
            cells.append(f"<td{_class(is_number)}{sort_by}>{inner}</td>")
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def _is_numeric(cells: Sequence[tuple[str, str]]) -> bool:
    """Whether a column holds numbers, and besides them nothing but signs for none."""
    without = [text for text, key in cells if number(key) is None]
    return len(without) < len(cells) and all(text in ("", "–", "?", "diverged") for text in without)


def _class(is_number: bool) -> str:
    return ' class="num"' if is_number else ""


def _figure(figure: Figure) -> Iterable[str]:
    yield f"<h2>{escape(figure.title)}</h2>"
    yield f'<p class="quiet">{escape(figure.caption)}</p>'
    if len(figure.legend) > 1:
        yield '<ul class="legend">'
        for colour, text in figure.legend:
            line = f'<svg width="24" height="8"><path d="M0 4h24" stroke="{colour}" stroke-width="3"/></svg>'
            yield f"<li>{line}{escape(text)}</li>"
        yield "</ul>"
    yield '<div class="panels">'
    yield from (panel.svg() for panel in figure.panels)
    yield "</div>"
