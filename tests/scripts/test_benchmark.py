"""scripts/benchmark.py as a user runs it, on little."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "benchmark.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_every_way_of_a_row_is_measured_and_compared() -> None:
    done = benchmark("resnet18", "evaluation", "augmentation", "start", "--short", "--rounds=1", "--images=1600")
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["resnet18", "evaluation", "augmentation", "start"]
    for row in rows:
        plain, product = row[1], row[2]
        assert float(product.replace(",", "")) > 0
        if row[0] == "resnet18":
            times = float(product.replace(",", "")) / float(plain.replace(",", ""))
            assert times == pytest.approx(float(re.match(r"[\d.]+", row[4])[0]), rel=0.05)  # type: ignore[index]


def test_an_unknown_row_is_refused() -> None:
    done = benchmark("mlpp")
    assert done.returncode == 2
    assert "mlpp" in done.stderr
    assert "mlp, lenet" in done.stderr
