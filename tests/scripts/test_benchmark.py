"""scripts/benchmark.py as a user runs it, on little."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT


def benchmark(*arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == expect, done.stderr
    return done


@pytest.mark.slow
def test_every_way_of_a_row_is_measured_and_compared() -> None:
    names = ["resnet18", "evaluation", "augmentation", "start"]
    told = benchmark(*names, "--short", "--rounds=1", "--images=1600", "--busy=1").stdout
    head, _, *lines, _, versions = [
        [cell.strip() for cell in line.replace(",", "").split("|")[1:-1]] or line for line in told.splitlines()
    ]
    rows = [dict(zip(head, line, strict=True)) for line in lines]
    assert [row[""] for row in rows] == names
    assert all(float(row["imgclf"]) > 0 for row in rows)
    for way in ("plain", "template"):
        times = float(re.match(r"[\d.]+", rows[0][f"times {way}"])[0])  # type: ignore[index]
        assert float(rows[0]["imgclf"]) / float(rows[0][way]) == pytest.approx(times, rel=0.05)
    assert re.search(r"torch \S+, pytorch-lightning \S+; \d+ x .+; beside 1 busy", versions)


def test_an_unknown_row_is_refused() -> None:
    told = benchmark("mlpp", expect=2).stderr
    assert ("mlpp" in told, "lenet" in told) == (True, True)
