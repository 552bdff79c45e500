"""What TensorBoard shows of runs, read back with TensorBoard's own reader."""

from pathlib import Path
from typing import Any

import pytest
from board_files import Board
from conftest import Door
from tensorboard.plugins.hparams import plugin_data_pb2

from imgclf.tensorboard import TensorBoardLogger


def settings_of(board: Board) -> tuple[dict[str, Any], set[str]]:
    """A run's row on the HParams page: its settings, and the columns of results."""

    def parsed(tag: str) -> Any:
        content = board.events.summary_metadata[f"_hparams_/{tag}"].plugin_data.content
        return plugin_data_pb2.HParamsPluginData.FromString(content)

    given = parsed("session_start_info").session_start_info.hparams
    columns = {metric.name.tag for metric in parsed("experiment").experiment.metric_infos}
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in given.items()}, columns


def test_a_sweep_is_rows_of_its_settings_and_results(door: Door, tmp_path: Path) -> None:
    short = ("callbacks=bare", "trainer.max_epochs=2", "data.batch_size=1000", "hydra.sweep.dir=sweep")
    door("train.py", "-m", "optimizer.lr=0.05,0.2", "model.activation=tanh", *short)
    for lr in (0.05, 0.2):
        folder = tmp_path / "sweep" / f"optimizer.lr@{lr}"
        assert len(list(folder.glob("events.out.tfevents.*"))) == 1
        board = Board(folder)
        settings, columns = settings_of(board)
        assert settings["optimizer.lr"] == pytest.approx(lr)
        assert (settings["model.activation"], settings["model"], settings["seed"]) == ("tanh", "MLP", 0)
        assert settings["callbacks"] == "bare"  # the choice, not all that it brings
        assert not [key for key in settings if key.startswith("hydra")]
        # The columns of results are the curves themselves, which have their epochs and nothing more.
        assert {"test/acc", "val/loss", "images_per_second"} <= columns <= set(board.tags["scalars"])
        assert "hp_metric" not in board.tags["scalars"]
        assert (len(board.scalars("val/acc")), len(board.scalars("test/acc"))) == (2, 1)


def test_what_is_saved_is_on_disk_in_one_file(tmp_path: Path) -> None:
    points = {"val": (9, 2.0), "train": (9, 3.0), "test": (20, 1.5)}
    logger = TensorBoardLogger(save_dir=str(tmp_path), name="", version="")
    logger.save()  # nothing to save yet
    logger.log_metrics({"val/loss": 2.0, "epoch": 0}, step=9)
    logger.log_metrics({"train/loss": 3.0, "epoch": 0}, step=9)
    logger.save()
    assert Board(tmp_path).scalars("val/loss") == [(9, 2.0)], "while the run goes on"
    logger.finalize("success")
    logger.log_metrics({"test/loss": 1.5, "epoch": 2}, step=20)
    logger.save()
    assert {f"{stage}/loss": [point] for stage, point in points.items()}.items() <= Board(tmp_path).repeatable().items()
    assert len(list(tmp_path.iterdir())) == 1
