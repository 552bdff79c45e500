"""scripts/gpu_check.sh, in small and without a GPU; scripts/benchmark.py, which is its last row, on little."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Door


@pytest.mark.slow
def test_every_check_of_the_dry_run_passes_and_the_benchmark_compares_what_it_measures() -> None:
    command = [str(ROOT / "scripts" / "gpu_check.sh"), "--dry-run"]
    done = subprocess.run(command, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True)
    rows = {name.strip("| "): row for name, *row in (line.split(" | ") for line in done.stdout.splitlines()[2:])}
    assert {name: row for name, row in rows.items() if row[:1] != ["ok"]} == {}, done.stdout + done.stderr
    assert (len(rows), done.returncode) == (13, 0)
    name, *figures = (cell.strip(" ;|").replace(",", "") for cell in rows["other loops"][1].split(" ; "))
    plain, template, ours, limit, *times = (float(figure.split()[0]) for figure in figures[:7])
    assert name == "mlp"
    assert times == pytest.approx([ours / plain, ours / template, ours / limit], rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("row", ["evaluation", "augmentation"])
def test_what_else_the_benchmark_measures(row: str, door: Door, tmp_path: Path) -> None:
    runpy.run_path(str(ROOT / "scripts" / "benchmark.py"))["make_pictures"](tmp_path, 600)
    for way in ("imgclf", "plain"):
        told = door("benchmark.py", "--short", "--measure", way, row, str(tmp_path)).stdout
        assert float(told.splitlines()[-1]) > 0
