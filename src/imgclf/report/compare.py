"""Two runs, held against each other."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from imgclf.errors import InputError
from imgclf.report.groups import is_speed, metric_names
from imgclf.report.runs import Run, read_run
from imgclf.report.settings import ABSENT, flat, identity
from imgclf.report.text import cut, pad, plain_metric, printable, show, width
from imgclf.run_folder import RunFolder

# When and how a run went, rather than what it was.
_OF_THE_COURSE = ("start", "end", "seconds", "outcome", "error", "resumed", "seed", "rerun_of", "reproduced")
_KEY_COLUMNS = 40
_IDENTICAL = "identical"


def compare(a: str | Path, b: str | Path) -> str:
    """In what two runs differ: configuration, provenance, final metrics, curves.

    Args:
        a: a run folder.
        b: another.

    Returns:
        Text for a terminal; ``identical`` in each part where they do not differ.

    Raises:
        InputError: one of them is no run folder.
    """
    one, other = _read(a, "A"), _read(b, "B")
    lines = [f"A: {one.folder}  ({one.outcome})", f"B: {other.folder}  ({other.outcome})", ""]
    lines += _part("configuration (A -> B)", _configs(one, other))
    lines += _part("provenance (A -> B)", _changes(_provenance(one), _provenance(other)))
    lines += _part("final metrics (A -> B)", _metrics(one, other))
    lines += _part("curves", _curves(one, other))
    problems = [f"{run.name}: {problem}" for run in (one, other) for problem in run.problems]
    if problems:
        lines += _part("damaged or missing", problems)
    return "\n".join(lines).rstrip()


def _read(folder: str | Path, name: str) -> Run:
    path = Path(folder)
    files = RunFolder(path)
    if not path.is_dir():
        raise InputError(f"there is no folder {path}: give two run folders, diff=[A,B]")
    if not any(f.exists() for f in (files.config_file, files.run_file, files.metrics_file, files.table_file)):
        raise InputError(f"{path} is no run folder: give two that training named at their end, diff=[A,B]")
    return read_run(path, name, name)


def _part(title: str, lines: Iterable[str]) -> list[str]:
    found = list(lines)
    if found in ([], [_IDENTICAL]):
        return [f"{title.removesuffix(' (A -> B)')}: {_IDENTICAL}", ""]
    return [title, *(f"  {line}" for line in found), ""]


def _configs(a: Run, b: Run) -> list[str]:
    if a.settings is None or b.settings is None:
        return ["cannot be compared"]
    return _changes({k: v for k, v in a.settings.items() if k != "folder"}, b.settings)


def _changes(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    keys = [k for k in dict.fromkeys([*a, *b]) if identity(a.get(k, ABSENT)) != identity(b.get(k, ABSENT))]
    shown = [printable(key) for key in keys if key != "folder"]
    columns = min(max(map(width, shown), default=0), _KEY_COLUMNS)
    pairs = [(_show(a.get(key, ABSENT)), _show(b.get(key, ABSENT))) for key in keys if key != "folder"]
    return [f"{pad(cut(k, columns), columns, right=False)}  {x} -> {y}" for k, (x, y) in zip(shown, pairs, strict=True)]


def _show(value: Any) -> str:
    return "–" if value is ABSENT else show(value)


def _provenance(run: Run) -> dict[str, Any]:
    return flat({key: value for key, value in run.about.items() if key not in _OF_THE_COURSE})


def _metrics(a: Run, b: Run) -> list[str]:
    if a.metrics is None or b.metrics is None:
        missing = " and ".join(run.name for run in (a, b) if run.metrics is None)
        return [f"{missing} not finished: no final metrics"]
    lines = []
    results_differ = False
    for name in metric_names([a, b]):
        x, y = a.metrics.get(name), b.metrics.get(name)
        if x is None or y is None or not _same(x, y):
            results_differ = results_differ or not is_speed(name)
            shown = [("–" if v is None else "diverged" if math.isnan(v) else plain_metric(name, v, 6)) for v in (x, y)]
            comparable = x is not None and y is not None and math.isfinite(y - x) and not is_speed(name)
            gap = f"  ({y - x:+.6f})" if comparable else ""  # type: ignore[operator]
            lines.append(f"{name:20}  {shown[0]} -> {shown[1]}{gap}")
    return lines if results_differ else ["identical but for the time they took", *lines] if lines else [_IDENTICAL]


def _same(x: float, y: float) -> bool:
    return x == y or (math.isnan(x) and math.isnan(y))


def _curves(a: Run, b: Run) -> list[str]:
    """For each column of metrics.csv the first epoch where they differ and the largest difference."""
    if not a.table or not b.table:
        missing = " and ".join(run.name for run in (a, b) if not run.table)
        return [_IDENTICAL] if not a.table and not b.table else [f"{missing} has no epoch in metrics.csv"]
    common = sorted(set(a.table.epochs) & set(b.table.epochs))
    lines = []
    if a.table.epochs != b.table.epochs:
        counts = f"A has {len(a.table.epochs)} epochs, B {len(b.table.epochs)}"
        lines.append(f"{counts}; compared where both have one ({len(common)})")
    for name in dict.fromkeys([*a.table.columns, *b.table.columns]):
        if is_speed(name):
            continue
        if name not in a.table.columns or name not in b.table.columns:
            lines.append(f"{printable(name):20}  only in {'A' if name in a.table.columns else 'B'}")
            continue
        x, y = (dict(zip(run.table.epochs, run.table.columns[name], strict=True)) for run in (a, b))
        different = [epoch for epoch in common if not _same(x[epoch], y[epoch])]
        if different:
            gaps = {e: abs(y[e] - x[e]) for e in different if math.isfinite(y[e] - x[e])}
            worst = max(gaps, key=lambda e: gaps[e], default=None)
            largest = "one of them diverged" if worst is None else f"at most {gaps[worst]:.3g}, in epoch {worst + 1}"
            lines.append(f"{printable(name):20}  from epoch {different[0] + 1} on; {largest}")
    return lines
