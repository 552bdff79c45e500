"""scripts/gpu_check.sh, in small and without a GPU; scripts/benchmark.py, which is its last row, on little."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_every_check_of_the_dry_run_passes_and_the_benchmark_compares_what_it_measures() -> None:
    command = [str(ROOT / "scripts" / "gpu_check.sh"), "--dry-run"]
    done = subprocess.run(command, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True)
    rows = {name.strip("| "): row for name, *row in (line.split(" | ") for line in done.stdout.splitlines()[2:])}
    assert {name: row for name, row in rows.items() if row[:1] != ["ok"]} == {}, done.stdout + done.stderr
    assert (len(rows), done.returncode) == (13, 0)
    _, *figures = (cell.strip(" ;|").replace(",", "") for cell in rows["other loops"][1].split(" ; "))
    plain, template, ours, limit, *times = (float(figure.split()[0]) for figure in figures[:7])
    assert times == pytest.approx([ours / plain, ours / template, ours / limit], rel=0.05)
