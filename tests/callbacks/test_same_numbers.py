"""What TensorBoard is shown changes nothing of a run."""

from pathlib import Path

from conftest import Door
from run_files import Board, assert_same


def test_the_very_numbers_come_with_and_without_pictures_and_histograms(door: Door, tmp_path: Path) -> None:
    run = ("debug=fast", "trainer.max_epochs=2", "model.dropout=0.5", "data.augment=pad_crop_flip")
    often = [f"callbacks.{name}.every_n_epochs=1" for name in ("inputs", "confusion", "mistakes")]
    door("train.py", *run, "callbacks=bare", "hydra.run.dir=bare")
    door("train.py", *run, "callbacks=histograms", *often, "hydra.run.dir=shown")
    assert_same(tmp_path / "bare", tmp_path / "shown")
    board = Board(tmp_path / "shown")
    tags = board.tags
    drawn = (
        "validation/confusion",
        "validation/accuracy_by_class",
        "validation/mistakes",
        "inputs/train",
    )
    assert {*drawn, "inputs/validation"} == set(tags["images"])
    assert {"weights/1.weight", "gradients/1.weight"} < set(tags["histograms"])
    assert {"lr/planned", "gradient/norm", "train/loss_step", "memory/process_MB"} < set(tags["scalars"])
    assert "train.py debug=fast trainer.max_epochs=2 model.dropout=0.5" in board.text("run/command")
    assert "dropout: 0.5" in board.text("run/configuration")
