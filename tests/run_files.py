"""What runs leave in their folders, as tests compare it: without what the clock decides."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

CLOCK = ("seconds", "images_per_second")


def weights(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    """The weights of a checkpoint."""
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def table(folder: Path) -> list[dict[str, str]]:
    """metrics.csv, a row an epoch."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in CLOCK} for row in csv.DictReader(file)]


def metrics(folder: Path) -> dict[str, Any]:
    """metrics.json."""
    return {k: v for k, v in json.loads((folder / "metrics.json").read_text()).items() if k not in CLOCK}


def run_json(folder: Path) -> dict[str, Any]:
    """run.json, whole."""
    return json.loads((folder / "run.json").read_text())


def assert_same(a: Path, b: Path) -> None:
    """Bit for bit the same numbers."""
    assert (metrics(a), table(a)) == (metrics(b), table(b))
    one, other = weights(a), weights(b)
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def jobs(sweep: Path) -> set[str]:
    """Names of a sweep's jobs."""
    return {path.name for path in sweep.iterdir() if path.is_dir() and not path.name.startswith(".")}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Of each file: when it was last written, and its place on the disk, which a new file would not share."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock"]
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in files}


class Board:
    """All that TensorBoard's files in a folder hold, in the order in which it was written."""

    def __init__(self, folder: Path) -> None:
        everything = {"scalars": 0, "images": 0, "tensors": 0, "histograms": 0}
        self.events = EventAccumulator(str(folder), size_guidance=everything)
        self.events.Reload()
        self.tags = self.events.Tags()

    def scalars(self, tag: str) -> list[tuple[int, float]]:
        """(step, value) of each point."""
        return [(event.step, event.value) for event in self.events.Scalars(tag)]

    def repeatable(self) -> dict[str, list[tuple[int, float]]]:
        """All scalars that the same command gives again."""
        tags = [tag for tag in self.tags["scalars"] if not tag.startswith(("images_per_second", "memory/"))]
        return {tag: self.scalars(tag) for tag in tags}

    def image_steps(self, tag: str) -> list[int]:
        """The steps that have a picture."""
        return [event.step for event in self.events.Images(tag)] if tag in self.tags["images"] else []

    def image(self, tag: str) -> NDArray[np.uint8]:
        """The last picture, uint8 (height, width, 3)."""
        encoded = self.events.Images(tag)[-1].encoded_image_string
        return np.array(Image.open(io.BytesIO(encoded)).convert("RGB"))
