"""What runs leave in their folders, as tests compare it: without what the clock decides."""

import csv
import json
from pathlib import Path
from typing import Any

import torch


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    """The weights of a checkpoint."""
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def table(folder: Path) -> list[dict[str, str]]:
    """metrics.csv, a row an epoch."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


def metrics(folder: Path) -> dict[str, Any]:
    """metrics.json."""
    found = json.loads((folder / "metrics.json").read_text())
    return {k: v for k, v in found.items() if k not in ("seconds", "images_per_second")}


def run_json(folder: Path) -> dict[str, Any]:
    """run.json, whole."""
    return json.loads((folder / "run.json").read_text())


def assert_same(a: Path, b: Path) -> None:
    """Bit for bit the same numbers."""
    assert metrics(a) == metrics(b)
    assert table(a) == table(b)
    one, other = weights(a), weights(b)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def jobs(sweep: Path) -> set[str]:
    """Names of a sweep's jobs."""
    return {path.name for path in sweep.iterdir() if path.is_dir() and not path.name.startswith(".")}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Of each file: when it was last written, and its place on the disk, which a new file would not share."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"]
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in files}
