"""report.csv: a row a run."""

import csv
import io
import math
from typing import Any

from imgclf.report.groups import Grouped
from imgclf.report.settings import ABSENT
from imgclf.report.text import number, printable, show

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def sheet(report: Grouped) -> str:
    """All runs, those of the best setting first: settings that differ, seed, final metrics, outcome, folder.

    Not-a-number stands as ``nan``, an absent value as nothing. A text that a spreadsheet would take for a formula
    begins with an apostrophe; numbers stay as they are.
    """
    settings = [*report.settings.shown, *report.settings.hidden]
    metrics = report.metric_names
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    keys = [setting.key for setting in settings]
    writer.writerow(map(_cell, [*keys, "seed", *metrics, "outcome", "note", "folder"]))
    places = {id(run): i for i, run in enumerate(run for run in report.known)}
    for run in (run for group in report.groups for run in group.runs):
        place = places.get(id(run))
        values = [ABSENT if place is None else setting.values[place] for setting in settings]
        numbers = [(run.metrics or {}).get(name, ABSENT) for name in metrics]
        note = "; ".join(part for part in (run.note, *run.problems) if part)
        writer.writerow(map(_cell, [*values, run.seed, *numbers, run.outcome, note, str(run.folder)]))
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is ABSENT:
        return ""
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if number(value) is not None and not isinstance(value, str):
        return repr(value)
    text = printable(value) if isinstance(value, str) else show(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
