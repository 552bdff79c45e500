"""The keys of ``sweep`` in conf/train.yaml."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """How a sweep runs.

    Args:
        on_error: ``continue`` with the other jobs after one has failed, or ``stop`` starting new ones.
        preflight: build the network, the optimizer, the schedule and the trainer of every point before the first job
            starts, so that a value that cannot work in the last one is found at once. The keys and types of all
            points are checked in any case.
        resume: folder of a sweep to go on with; finished jobs are left as they are.
        objective: metric of a run that a search is told, as metrics.json names it.
        seeds: runs for each trial of a search, from the configured seed upwards; it is told their median.
        report: write a table of all jobs, with pictures, into the sweep's folder at its end.
    """

    on_error: Literal["continue", "stop"] = "continue"
    preflight: bool = True
    resume: str | None = None
    report: bool = True
    objective: str = "best/val/acc"
    seeds: int = 1
