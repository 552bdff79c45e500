"""A report as text for a terminal."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from imgclf.report.groups import METRICS, Group, Grouped
from imgclf.report.runs import DIVERGED, FINISHED, Run
from imgclf.report.settings import ABSENT, is_setting
from imgclf.report.text import counted, cut, cut_left, mean_and_spread, number, pad, plain_metric, printable, width

NARROW = 80  # columns that every terminal has
_GAP = "  "
_LEAST = 5  # columns to which a setting is cut
_WANTED = ("best/val/acc", "test/acc", "seconds", "images_per_second")
_EXTRA = ("test/loss", "val/acc", "val/loss", "train/acc", "train/loss")


@dataclass
class Column:
    """Title and cells of one column; cells stand at the right end, and lose their beginning where that says less."""

    title: str
    cells: list[str]
    right: bool = True
    keeps_end: bool = False

    @property
    def natural(self) -> int:
        return max(map(width, [self.title, *self.cells]))


def report_text(report: Grouped, runs: Sequence[Run], columns: int, rows: int) -> str:
    """The table of settings, best first, then what is not finished, what is damaged and how the best was made.

    Args:
        report: the groups.
        runs: all runs, in order.
        columns: of the terminal; 80 are used where they suffice.
        rows: most lines of the table and of each list below it.
    """
    parts = [_headline(report, runs), ""]
    if any(group.metrics for group in report.groups):
        narrow = min(columns, NARROW)
        for room, digits in dict.fromkeys([(narrow, 4), (narrow, 3), (columns, 4), (columns, 3)]):
            lines, lacking = _layout(report, room, digits, rows)
            if not lacking:
                break
        parts += lines
        more = sum(bool(group.metrics) for group in report.groups) - rows
        if more > 0:
            parts.append(f"… and {counted(more, 'more setting')}, in report.html")
        if lacking:
            parts.append(cut(f"no room for {', '.join(lacking)}: see report.html", columns))
        parts.append("")
    unfinished = [(run, f"{run.outcome:12} {run.note}") for run in not_finished(runs)]
    parts += _named("not finished or diverged", unfinished, columns, rows)
    parts += _named("damaged or missing", [(r, p) for r in runs for p in r.problems], columns, rows)
    parts += [cut(note, columns) for note in notes(report, runs)]
    command = best_command(report)
    if command:
        parts.append(f"best:   {command}")
    return "\n".join(parts)


def _headline(report: Grouped, runs: Sequence[Run]) -> str:
    what = f"{counted(len(runs), 'run')}, {counted(len(report.groups), 'setting')}"
    order = f"; by {report.sort}" if report.sort else ""
    return f"{what}{order}; mean ± standard deviation over seeds"


def not_finished(runs: Sequence[Run]) -> list[Run]:
    """Those without final numbers, then those whose final numbers are none."""
    return sorted((run for run in runs if run.outcome != FINISHED), key=lambda run: run.outcome == DIVERGED)


def notes(report: Grouped, runs: Sequence[Run]) -> list[str]:
    """What a reader of the table must know besides."""
    found = []
    if report.validated is None:
        found.append("note: nothing was validated, so none is called best")
    elif report.sort != report.validated:
        found.append(f"note: best is chosen by {report.validated}")
    commits = {commit for run in runs if (commit := run.commit)}
    if len(commits) > 1:
        found.append(f"note: made with {len(commits)} commits: {', '.join(sorted(c[:7] for c in commits))}")
    if any(len(group.finished) > group.seeds > 0 for group in report.groups):
        found.append("note: some seeds ran more than once; they count once, with their mean")
    if report.settings.following:
        followers: dict[str, list[str]] = {}
        for setting in report.settings.hidden:
            leader = report.settings.following[setting.key].removesuffix("._target_")
            followers.setdefault(leader, []).append(setting.key.removesuffix("._target_"))
        lists = [f"from {leader}: {', '.join(keys)}" for leader, keys in followers.items()]
        found.append(f"note: left out, as they follow {printable('; '.join(lists))}")
    return found


def best_command(report: Grouped) -> str | None:
    """The command line of the best group by validation, without its seed; None where it is not known."""
    best = report.best
    given = best.runs[0].overrides if best is not None else None
    if given is None:
        return None
    kept = [text for text in given if is_setting(text)]
    return printable(shlex.join(["uv", "run", "scripts/train.py", *kept]))


def metric_title(metric: str) -> str:
    """``test acc`` for ``test/acc``."""
    return {"seconds": "time", "images_per_second": "images/s"}.get(metric, metric.replace("/", " "))


def metric_cell(group: Group, metric: str, digits: int = 4) -> str:
    """Mean and spread of a loss or accuracy; the mean alone of times, rates and counts."""
    summary = group.metrics.get(metric)
    if summary is None:
        return ""
    if "/" not in metric:
        return plain_metric(metric, summary.mean) if math.isfinite(summary.mean) else ""
    return mean_and_spread(summary.mean, summary.spread, digits)


def seeds_cell(group: Group) -> str:
    """``3``, or ``2/3`` where one has not finished."""
    missing = len(group.runs) - len(group.finished)
    return f"{group.seeds}/{group.seeds + missing}" if missing else str(group.seeds)


def _layout(report: Grouped, columns: int, digits: int, rows: int) -> tuple[list[str], list[str]]:
    """Lines of at most ``columns``, and what there was no room for."""
    groups = [group for group in report.groups if group.metrics][:rows]
    present = [name for name in report.metric_names if any(name in group.metrics for group in groups)]
    first = report.sort if report.sort in present else next((n for n in _WANTED if n in present), None)
    required = [Column(metric_title(first), [metric_cell(g, first, digits) for g in groups])] if first else []
    required.append(Column("seeds", [seeds_cell(g) for g in groups]))
    settings = [
        Column(s.title, [group.values[i] for group in groups], _is_numeric(groups, i), keeps_end=s.key == "sweep")
        for i, s in enumerate(report.settings.shown)
    ]
    room = columns - sum(column.natural + len(_GAP) for column in required)
    kept, widths, lacking = _fitted(settings, room)
    room -= sum(widths) + len(_GAP) * max(0, len(widths) - 1)
    optional = []
    for name in dict.fromkeys([*_WANTED, *_EXTRA]):
        if name in present and name != first:
            title = metric_title(name).replace("images", "img")
            column = Column(title, [metric_cell(g, name, digits) for g in groups])
            if column.natural + len(_GAP) <= room:
                optional.append(column)
                room -= column.natural + len(_GAP)
            elif name in _WANTED:
                lacking.append(column.title)
            else:
                break
    # In the order of the metrics, whichever was given room first.
    order = [metric_title(name).replace("images", "img") for name in (*METRICS, *report.metric_names)]
    optional.sort(key=lambda column: order.index(column.title))
    shown = [*kept, *required[:-1], *optional, required[-1]]
    widths += [column.natural for column in shown[len(kept) :]]
    lines = []
    for texts in [[c.title for c in shown], *zip(*(c.cells for c in shown), strict=True)]:
        cells = [
            pad((cut_left if c.keeps_end else cut)(text, w), w, right=c.right)
            for text, w, c in zip(texts, widths, shown, strict=True)
        ]
        lines.append(_GAP.join(cells).rstrip())
    return lines, lacking


def _fitted(settings: list[Column], room: int) -> tuple[list[Column], list[int], list[str]]:
    """The settings that fit, their widths, and what is cut or left out."""
    kept = list(settings)
    lacking: list[str] = []
    while kept and len(kept) * (_LEAST + len(_GAP)) - len(_GAP) > room:
        lacking.insert(0, kept.pop().title)
    widths = [column.natural for column in kept]
    while widths and sum(widths) + len(_GAP) * (len(widths) - 1) > room:
        widths[widths.index(max(widths))] -= 1
    cuts = [f"all of {c.title}" for c, w in zip(kept, widths, strict=True) if w < c.natural]
    return kept, widths, cuts + lacking


def _is_numeric(groups: Sequence[Group], i: int) -> bool:
    return all(group.raw[i] in (ABSENT, None) or number(group.raw[i]) is not None for group in groups)


def _named(title: str, entries: Sequence[tuple[Run, str]], columns: int, rows: int) -> list[str]:
    if not entries:
        return []
    longest = min(max(width(run.name) for run, _ in entries[:rows]), columns // 3)
    lines = [f"{title} ({len(entries)}):"]
    for run, text in entries[:rows]:
        lines.append(cut(f"  {pad(cut_left(run.name, longest), longest, right=False)}  {text}".rstrip(), columns))
    if len(entries) > rows:
        lines.append(f"  … and {len(entries) - rows:,} more, in report.html")
    return [*lines, ""]
