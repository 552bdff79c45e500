"""Sweeps that tests start, and what lies in their folders."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch
from run_files import metrics, table, weights
from starter import Started

TINY = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "logger=none")
PATIENCE = 300  # seconds, on a machine with much else to do


def assert_same(a: Path, b: Path) -> None:
    """Bit for bit the same numbers."""
    assert metrics(a) == metrics(b)
    assert table(a) == table(b)
    one, other = weights(a), weights(b)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def jobs(sweep: Path) -> set[str]:
    return {path.name for path in sweep.iterdir() if path.is_dir() and not path.name.startswith(".")}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Of each file: when it was last written, and its place on the disk, which a new file would not share."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"]
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in files}


def wait_until(condition: Callable[[], object], complaint: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.02)


def wait_for(file: Path, process: "Started | subprocess.Popen[str]") -> None:
    wait_until(lambda: file.exists() or process.poll() is not None, lambda: f"no {file}")
    assert file.exists(), process.communicate()[0]
