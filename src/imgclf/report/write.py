"""Reports as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from imgclf.errors import InputError
from imgclf.report.groups import Grouped, grouped
from imgclf.report.page import page
from imgclf.report.runs import Run, find_runs
from imgclf.report.sheet import sheet
from imgclf.report.terminal import NARROW, report_text
from imgclf.run_folder import write_whole


@dataclass
class Report:
    """A report that has been written.

    Args:
        html: the page.
        csv: a row a run.
        runs: all that were found.
        grouped: by their settings, the best first.
    """

    html: Path
    csv: Path
    runs: list[Run]
    grouped: Grouped

    def text(self, columns: int = NARROW, rows: int = 20) -> str:
        """The report for a terminal.

        Args:
            columns: of the terminal; 80 are used where they suffice.
            rows: most lines of the table and of each list below it.
        """
        return report_text(self.grouped, self.runs, columns, rows)


def write_report(folders: Sequence[str | Path], out: str | Path | None = None, *, sort: str | None = None) -> Report:
    """Report on all runs beneath some folders, in ``report.html`` and ``report.csv``.

    Half-finished sweeps and damaged files are no obstacle: what is wrong is named in the report.

    Args:
        folders: each of a sweep, a single run, or of many of either. Runs with the same settings in one folder are
            taken together; several folders are compared with each other.
        out: folder for the files, made where it is missing. None: the folder itself where there is one,
            ``logs/reports/DATE_TIME`` where there are several.
        sort: a metric or setting by which to sort; None for the best epoch's validation accuracy.

    Raises:
        InputError: a folder is missing or holds no run, nothing is called ``sort``, or ``out`` cannot be written.
    """
    paths = [Path(folder) for folder in folders]
    runs = find_runs(paths)
    report = grouped(runs, sort)
    place = _place(paths) if out is None else Path(out)
    html, csv = place / "report.html", place / "report.csv"
    title = "Report: " + ", ".join(dict.fromkeys(_title(path) for path in paths))
    try:
        write_whole(html, page(report, runs, title, place))
        write_whole(csv, sheet(report))
    except OSError as error:
        raise InputError(f"the report cannot be written to {place} ({error.strerror}): choose out=FOLDER") from error
    return Report(html, csv, runs, report)


def _place(folders: Sequence[Path]) -> Path:
    if len(folders) == 1:
        return folders[0]
    return Path("logs") / "reports" / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"


def _title(folder: Path) -> str:
    return "/".join(folder.absolute().parts[-2:]).lstrip("/")
