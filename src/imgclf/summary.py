"""The short table at the end."""

from pathlib import Path
from typing import Any


def training_table(metrics: dict[str, Any], folder: Path, *, on_board: bool) -> str:
    """What a run came to: at most 80 columns but for the folder's own length.

    Args:
        metrics: contents of metrics.json.
        folder: the run folder.
        on_board: whether TensorBoard has something to show of it.
    """
    lines = ["", f"{'':12}{'loss':>10}{'accuracy':>10}"]
    for stage, label in (("train", "train"), ("val", "validation"), ("test", "test")):
        if f"{stage}/acc" in metrics:
            lines.append(f"{label:12}{metrics[f'{stage}/loss']:10.4f}{metrics[f'{stage}/acc']:10.4f}")
    if "best_epoch" in metrics:
        best = metrics["best_epoch"] + 1
        tested = f"test: epoch {best}" if "test/acc" in metrics else f"checkpoints/best.ckpt: epoch {best}"
        lines.append(f"train and validation: epoch {metrics['epochs']}, the last; {tested}")
    lines += [
        f"{metrics['images_per_second']:,.0f} training images/s, {metrics['seconds']:.1f} s in all",
        f"run folder:  {folder}",
    ]
    if on_board:
        lines.append(f"TensorBoard: uv run tensorboard --logdir {folder}")
    return "\n".join(lines)


def evaluation_table(metrics: dict[str, Any], weights: str) -> str:
    """Test loss and accuracy of one checkpoint."""
    return (
        f"\n{'':12}{'loss':>10}{'accuracy':>10}\n"
        f"{'test':12}{metrics['test/loss']:10.4f}{metrics['test/acc']:10.4f}\n"
        f"checkpoint:  {weights}"
    )
