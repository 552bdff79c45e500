"""Measuring: what scripts/benchmark.py opens."""

import shutil
import sys
from pathlib import Path

from omegaconf import DictConfig

from imgclf.benchmark.plan import Plan
from imgclf.benchmark.present import HEAD, line, write
from imgclf.benchmark.ways import Ways
from imgclf.build import built
from imgclf.distributed import cores
from imgclf.provenance import processor, provenance


def benchmark(config: DictConfig) -> None:
    """Measure what ``config.benchmark`` says, print the table as it grows, write JSON and chart.

    Args:
        config: composed and checked.
    """
    plan: Plan = built(config, "benchmark")
    folder = Path(config.folder)
    machine = provenance() | {"cores": cores(), "processor": processor()}
    print(f"{machine['processor']}, {machine['cores']} cores; {plan.rounds} rounds; {folder}\n\n{HEAD}")
    work = folder / "work"
    rows = Ways(plan, work, Path(sys.argv[0]).parent.absolute()).comparisons()
    for row in rows:
        for round_number in range(plan.rounds):
            row.measure(round_number)
        print(line(row), flush=True)
        files = write([r for r in rows if r.values], machine, folder)  # kept should the next row be cut short
    shutil.rmtree(work)
    print("\n" + "\n".join(str(file) for file in files))
