"""The names under which TensorBoard shows a run's figures, and when they are on disk."""

from pathlib import Path

import pytest
from board_files import Board

from imgclf.tensorboard import TensorBoardLogger, board_tag


@pytest.mark.parametrize(
    ("metric", "tag"),
    [
        ("train/loss", "loss/train"),
        ("val/loss", "loss/val"),
        ("test/acc", "accuracy/test"),
        ("val/top5", "top5/val"),
        ("lr", "rate/lr"),
        ("lr/bias", "rate/lr bias"),
        ("images_per_second", "speed/images_per_second"),
        ("epoch", "epoch"),
        ("train", "train"),
        ("my/own", "my/own"),
    ],
)
def test_like_lies_beside_like(metric: str, tag: str) -> None:
    assert board_tag(metric) == tag


def test_the_epoch_is_written_once_a_step_and_not_with_the_test(tmp_path: Path) -> None:
    logger = TensorBoardLogger(save_dir=str(tmp_path), name="", version="")
    logger.log_metrics({"val/loss": 2.0, "epoch": 0}, step=9)
    logger.log_metrics({"train/loss": 3.0, "epoch": 0}, step=9)
    logger.log_metrics({"val/loss": 1.0, "epoch": 1}, step=19)
    logger.log_metrics({"test/loss": 1.5, "epoch": 2}, step=20)
    logger.save()
    assert Board(tmp_path).repeatable() == {
        "loss/val": [(9, 2.0), (19, 1.0)],
        "loss/train": [(9, 3.0)],
        "loss/test": [(20, 1.5)],
        "epoch": [(9, 0.0), (19, 1.0)],
    }


def test_what_is_saved_is_on_disk_while_the_run_goes_on_in_one_file(tmp_path: Path) -> None:
    logger = TensorBoardLogger(save_dir=str(tmp_path), name="", version="")
    logger.save()  # nothing to save yet
    for step in range(3):
        logger.log_metrics({"lr": 0.5}, step=step)
        logger.save()
        assert Board(tmp_path).scalars("rate/lr") == [(s, 0.5) for s in range(step + 1)]
        logger.finalize("success")
    assert len(list(tmp_path.iterdir())) == 1
