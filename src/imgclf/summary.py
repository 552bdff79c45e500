"""The short table at the end."""

import math
import shlex
from pathlib import Path
from typing import Any


def training_table(metrics: dict[str, Any], folder: Path, *, on_board: bool) -> str:
    """What a run came to, from metrics.json: at most 80 columns but for the folder's own length.

    ``on_board``: whether TensorBoard has something to show of it.
    """
    # JSON has no other sign for what is no number.
    metrics = {n: math.nan if v is None and ("/" in n or n.startswith("test_")) else v for n, v in metrics.items()}
    last = metrics["epochs"]
    best, of_best = (metrics["best_epoch"] + 1, "best/") if "best_epoch" in metrics else (last, "")
    lines = ["", f"{f'epoch {best}':12}{'loss':>10}{'accuracy':>10}"]
    for label, stage in (("train", f"{of_best}train"), ("validation", f"{of_best}val"), ("test", "test")):
        if f"{stage}/loss" in metrics and f"{stage}/acc" in metrics:
            lines.append(f"{label:12}{metrics[f'{stage}/loss']:10.4f}{metrics[f'{stage}/acc']:10.4f}")
    if best != last:
        stages = {"train": "train", "validation": "val"}
        found = [(label, metrics.get(f"{s}/loss"), metrics.get(f"{s}/acc")) for label, s in stages.items()]
        figures = [f"{label} {loss:.4f}, {acc:.4f}" for label, loss, acc in found if None not in (loss, acc)]
        lines.append(f"epoch {last}, the last: {'; '.join(figures)}")
    lines += [line for line in _others(metrics) if not line.startswith("test/acc_of/")]  # metrics.json has those
    speed = f"{metrics['images_per_second'] or 0:,.0f} training images/s"
    lines += [f"{speed}, {metrics['seconds']:.1f} s in all", f"run folder:  {folder}"]
    if on_board:
        lines.append(f"TensorBoard: uv run tensorboard --logdir {shlex.quote(str(folder))}")
    return "\n".join(lines)


def evaluation_table(metrics: dict[str, Any], weights: str) -> str:
    """Test loss and accuracy of one checkpoint."""
    loss, accuracy = (metrics.get(name, math.nan) for name in ("test/loss", "test/acc"))
    row = f"{'test':12}{loss:10.4f}{accuracy:10.4f}"
    return "\n".join(["", f"{'':12}{'loss':>10}{'accuracy':>10}", row, *_others(metrics), f"checkpoint:  {weights}"])


def _others(metrics: dict[str, Any]) -> list[str]:
    others = [name for name in metrics if name.startswith(("test/", "test_")) and name not in ("test/loss", "test/acc")]
    return [f"{name:30} {metrics[name]:.4f}" for name in others]
