"""scripts/benchmark.py as a user runs it, on little."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_every_way_of_a_row_is_measured_and_compared() -> None:
    names = ["mlp", "augmentation", "start"]
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), "--short", "--rounds=1", "--images=600", *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    head, _, *lines, _, versions = [
        [cell.strip() for cell in line.replace(",", "").split("|")[1:-1]] or line for line in done.stdout.splitlines()
    ]
    rows = [dict(zip(head, line, strict=True)) for line in lines]
    assert [row[""] for row in rows] == names
    assert all(float(row["imgclf"]) > 0 for row in rows)
    for way in ("plain", "template"):
        times = float(re.match(r"[\d.]+", rows[0][f"times {way}"])[0])  # type: ignore[index]
        assert float(rows[0]["imgclf"]) / float(rows[0][way]) == pytest.approx(times, rel=0.05)
    assert re.search(r"torch \S+, pytorch-lightning \S+; \d+ x .+; beside 0 busy", versions)
