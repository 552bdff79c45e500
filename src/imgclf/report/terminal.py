"""Comparing runs in a terminal: what scripts/report.py opens."""

import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from itertools import accumulate
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig, OmegaConf
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as Grid

from imgclf.errors import InputError, say
from imgclf.report.page import page
from imgclf.report.runs import FINISHED, Runs, printable, read_runs
from imgclf.report.tables import Table, all_runs, csv_text, tables
from imgclf.run_folder import flat, write_whole

# When and how a run went, rather than what it was.
_OF_THE_COURSE = ("start", "end", "seconds", "outcome", "error", "resumed", "seed", "rerun_of", "reproduced")
_CLOCK = ["seconds", "images_per_second"]


def report(config: DictConfig) -> None:
    """Print and write a report on ``config.sweep``, or print how the two runs of ``config.diff`` differ."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal without ± gets a question mark
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 80
    given = (g if OmegaConf.is_list(g) else [g] for g in (config.sweep, config.diff))
    sweeps, pair = ([Path(str(folder)) for folder in folders if folder] for folders in given)
    if bool(sweeps) == bool(pair) or len(pair) not in (0, 2):
        example = "give one of sweep=logs/sweeps/NAME/DATE_TIME and diff=[RUN,RUN]"
        raise InputError(f"sweep={config.sweep}, diff={config.diff}: {example}")
    if pair:
        say(compare(pair[0], pair[1], columns))
    else:
        say(write_report(sweeps, config.out, config.sort, columns, config.rows))


def write_report(
    folders: Sequence[Path], out: str | None = None, sort: str | None = None, columns: int = 80, rows: int = 20
) -> str:
    """Report on all runs beneath some folders, in ``report.html`` and ``report.csv``, and as a text for a terminal.

    ``out``: folder for the files; None for the folder itself, ``logs/reports/DATE_TIME`` where there are several;
    ``sort``: a metric or the key of a setting; None for the best by validation; ``rows``: most lines of each list.
    """
    runs = read_runs(folders)
    found = tables(runs, sort)
    several = Path("logs", "reports", f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}")
    place = Path(out) if out else folders[0] if len(folders) == 1 else several
    title = "Report: " + ", ".join(dict.fromkeys("/".join(folder.absolute().parts[-2:]) for folder in folders))
    try:
        write_whole(place / "report.html", page(runs, found, printable(title)))
        write_whole(place / "report.csv", csv_text(all_runs(runs, found)))
    except OSError as error:
        raise InputError(f"the report cannot be written to {place} ({error.strerror}): choose out=FOLDER") from error
    paths = f"report: {place / 'report.html'}\nrows:   {place / 'report.csv'}"
    return f"{report_text(runs, found, columns, rows)}\n{paths}"


def report_text(runs: Runs, found: Sequence[Table], columns: int, rows: int) -> str:
    """The groups of each table, then what has not finished, and what is damaged."""
    lists: list[tuple[str, pd.DataFrame, Sequence[str]]] = []
    for table in found:
        texts = table.texts
        least = len(table.titles) + 2  # settings, seeds, and what they are sorted by
        widths = (2 + max(map(cell_len, (str(name), *texts[name][:rows]))) for name in texts)
        texts = texts.iloc[:, : max(least, sum(total <= columns + 2 for total in accumulate(widths)))]
        lists.append((f"{table.head()}; mean ± standard deviation over seeds", texts, table.notes()))
    unfinished = runs.about.loc[runs.about.outcome != FINISHED, ["name", "outcome", "note"]]
    lists += [("not finished, or diverged:", unfinished, ()), ("damaged or missing:", runs.problems, ())]
    parts = []
    for title, texts, after in lists:
        more = [f"… and {len(texts) - rows:,} more, in report.html"] * (len(texts) > rows)
        parts += [title, _grid(texts[:rows], columns), *more, *after, ""] if len(texts) else []
    return "\n".join(parts)


def _grid(texts: pd.DataFrame, columns: int) -> str:
    """A table as text; what is too wide for so many columns is folded."""
    grid = Grid(*map(str, texts), box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in grid.columns:
        column.overflow = "fold"
    for row in texts.itertuples(index=False):
        grid.add_row(*row)
    console = Console(width=columns, markup=False, highlight=False, emoji=False, color_system=None)
    with console.capture() as text:
        console.print(grid)
    return "\n".join(line.rstrip() for line in text.get().splitlines())


def compare(a: Path, b: Path, columns: int = 80) -> str:
    """In what two runs differ: configuration, provenance, final metrics, curves; an InputError for other folders."""
    runs = read_runs([a, b])
    for folder in (a, b):
        path = printable(folder.resolve())
        if [found for found in runs.about.folder if Path(found).is_relative_to(path)] != [path]:
            raise InputError(f"{folder} is no run folder: give two that training named at their end, diff=[A,B]")
    told = [flat({key: value for key, value in run.items() if key not in _OF_THE_COURSE}) for run in runs.about.run]
    curves = runs.curves.drop(columns=_CLOCK, errors="ignore").melt(["run", "epoch"], var_name="metric")
    sections = {
        "configuration": runs.settings.drop(columns=["sweep", "folder"], errors="ignore").T,
        "provenance": pd.DataFrame(told).drop(columns="git.patch", errors="ignore").T,  # git.diff tells it apart
        "final metrics": runs.metrics.drop(columns=_CLOCK, errors="ignore").T,
        "curves": curves.pivot(index=["metric", "epoch"], columns="run", values="value"),
        "speed": runs.metrics.filter(_CLOCK).T,
    }
    parts = [f"{name}: {runs.about.folder.iloc[i]} ({runs.about.outcome.iloc[i]})" for name, i in (("A", 0), ("B", -1))]
    for title, values in sections.items():
        pair = values.reindex(columns=[0, len(runs.about) - 1]).astype(object).fillna("–").set_axis(["A", "B"], axis=1)
        pair = pair[pair.A.map(repr) != pair.B.map(repr)]
        if title == "curves":
            pair = pair.groupby(level="metric", sort=False).nth([0, -1])  # where they part, and their ends
            pair.index = [f"{metric}, epoch {epoch + 1:.0f}" for metric, epoch in pair.index]
        texts = pair.map(lambda value: f"{value:.9g}" if isinstance(value, float) else printable(value).strip('"'))
        texts.insert(0, title, [printable(key) for key in pair.index])
        parts.append(f"\n{_grid(texts, columns) if len(pair) else f'{title}: identical'}")
    return "\n".join(parts + [f"{name}: {text}" for name, text in runs.problems.itertuples(index=False)])
