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
