"""Run folders -> tables and pictures.

Knows the files of a run folder and nothing of training: neither torch nor Hydra is imported, so that a report of a
thousand runs takes seconds. What stands in a run folder may come from anyone and may be damaged; it is shown, and
never trusted.
"""

from imgclf.report.compare import compare
from imgclf.report.write import Report, write_report

__all__ = ["Report", "compare", "write_report"]
