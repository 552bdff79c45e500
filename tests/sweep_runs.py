"""Sweeps that tests start, and what lies in their folders."""

import subprocess
import time
from pathlib import Path

import torch
from run_files import metrics, table, weights
from starter import Started

TINY = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "logger=none")


def assert_same(a: Path, b: Path) -> None:
    """Bit for bit the same numbers."""
    assert metrics(a) == metrics(b)
    assert table(a) == table(b)
    one, other = weights(a), weights(b)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def jobs(sweep: Path) -> set[str]:
    return {path.name for path in sweep.iterdir() if path.is_dir()}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Of each file: when it was last written, and its place on the disk, which a new file would not share."""
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in sorted(folder.rglob("*")) if p.is_file()}


def wait_for(file: Path, process: "Started | subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists():
            return
        time.sleep(0.005)
    process.kill()
    raise AssertionError(f"no {file}: {process.communicate()[0]}")
