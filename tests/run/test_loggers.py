"""Weights & Biases and MLflow beside TensorBoard, offline."""

import json
from pathlib import Path

import pytest
from board_files import Board
from conftest import Door

SHORT = ("trainer.max_epochs=1", "data.batch_size=1000", "test=false")


def test_weights_and_biases_beside_tensorboard(door: Door, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="needs --extra wandb")
    given = ("logger=[tensorboard,wandb]", "logger.wandb.offline=true", "hydra.run.dir=run")
    door("train.py", *SHORT, *given, WANDB_SILENT="true", WANDB_DIR=str(tmp_path))
    kept = json.loads((tmp_path / "run" / "run.json").read_text())["loggers"]["WandbLogger"]
    (run,) = (tmp_path / "run" / "wandb").glob(f"offline-run-*-{kept}")
    assert {"val/acc", "lr", "images_per_second"} <= set(Board(tmp_path / "run").tags["scalars"])
    pictures = [file.name for file in (run / "files" / "media" / "images").rglob("*.png")]
    assert any("confusion" in name for name in pictures)
    done = door(
        *("train.py", "resume=run", "trainer.max_epochs=2", "trust=[pytorch_lightning.]"),
        WANDB_SILENT="true",
        WANDB_DIR=str(tmp_path),
    )
    assert "epoch 2/2" in done.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["loggers"]["WandbLogger"] == kept, "one run"


def test_mlflow_has_settings_curves_and_pictures_and_marks_a_diverged_run(door: Door, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs --extra mlflow")
    door("train.py", *SHORT, "logger=mlflow", "hydra.run.dir=run")
    door("train.py", *SHORT, "logger=mlflow", "hydra.run.dir=diverged", "optimizer.lr=1e30", expect=2)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/logs/mlflow.db")
    runs = {}
    for folder in ("run", "diverged"):
        kept = json.loads((tmp_path / folder / "run.json").read_text())["loggers"]["MLFlowLogger"]
        runs[folder] = client.get_run(kept)
    assert runs["run"].data.params["optimizer.lr"] == "0.1"
    assert {"val/acc", "lr", "images_per_second"} <= set(runs["run"].data.metrics)
    assert list((tmp_path / "logs" / "mlflow").rglob("confusion/*.png"))
    assert (runs["run"].info.status, runs["diverged"].info.status) == ("FINISHED", "FAILED")
