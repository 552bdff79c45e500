"""What a search asks of its jobs: a figure for each trial, over one seed or several."""

import statistics
from collections.abc import Sequence
from typing import Any

from imgclf.errors import InputError

Overrides = tuple[str, ...]


def with_seeds(trial: Sequence[str], seed: int, count: int) -> list[Overrides]:
    """The jobs of a trial: one for each of ``count`` seeds.

    Args:
        trial: its overrides; a seed among them takes the place of ``seed``.
        seed: the first one.
        count: 1 leaves the overrides as they are.
    """
    if count == 1:
        return [tuple(trial)]
    given = [override.partition("=")[2] for override in trial if override.startswith("seed=")]
    first = int(given[-1]) if given else seed
    others = [override for override in trial if not override.startswith("seed=")]
    return [(*others, f"seed={first + place}") for place in range(count)]


def result(name: str, runs: Sequence[dict[str, Any] | None]) -> float | None:
    """The median over the runs of a trial; None, which makes the trial a failed one, where one of them has no end.

    Args:
        name: of a metric in metrics.json.
        runs: contents of metrics.json; None for a run that failed.

    Raises:
        InputError: there is no such metric.
    """
    values = []
    for metrics in runs:
        if metrics is None:
            return None
        if name not in metrics:
            raise InputError(f"sweep.objective={name} is not among a run's metrics: {', '.join(sorted(metrics))}")
        if metrics[name] is None:
            return None  # not a number: it diverged
        values.append(float(metrics[name]))
    return statistics.median(values)
