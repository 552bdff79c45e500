"""scripts/benchmark.py as a user runs it, on little."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_every_way_of_a_row_is_measured_and_compared() -> None:
    names = ["resnet18", "evaluation", "augmentation", "start"]
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "--short", "--rounds=1", "--images=1600", *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[2:]
    rows = [line.strip("| ").replace(",", "").split(" | ") for line in lines]
    assert [row[0] for row in rows] == names
    assert all(float(row[2]) > 0 for row in rows)
    times = float(re.match(r"[\d.]+", rows[0][4])[0])  # type: ignore[index]
    assert float(rows[0][2]) / float(rows[0][1]) == pytest.approx(times, rel=0.05)
