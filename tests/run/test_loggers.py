"""TensorBoard, and Weights & Biases and MLflow beside it, offline."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Door
from run_files import Board, metrics, run_json
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

SHORT = ("trainer.max_epochs=1", "data.batch_size=1000", "test=false")
LOGGED = {"val/acc", "lr", "images_per_second"}


@pytest.mark.slow
def test_weights_and_biases_have_a_run_for_each_job_which_goes_on_as_the_same(door: Door, tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="needs --extra wandb")
    quiet = {"WANDB_SILENT": "true", "WANDB_DIR": str(tmp_path)}
    given = ("logger=[tensorboard,wandb]", "logger.wandb.offline=true", "seed=0,1", "hydra.sweep.dir=sweep")
    door("train.py", "-m", *SHORT, *given, **quiet)
    for seed in (0, 1):
        job = tmp_path / "sweep" / f"seed@{seed}"
        (run,) = (job / "wandb").glob(f"offline-run-*-{run_json(job)['loggers']['WandbLogger']}")
        assert set(Board(job).tags["scalars"]) >= LOGGED
        assert any("confusion" in str(file) for file in (run / "files" / "media" / "images").rglob("*.png"))
    more = ("resume=sweep/seed@1", "trainer.max_epochs=2", "trust=[pytorch_lightning.]")
    before = run_json(job)["loggers"]
    assert "epoch 2/2" in door("train.py", *more, **quiet).stderr
    assert run_json(job)["loggers"] == before


@pytest.mark.slow
def test_mlflow_has_settings_curves_and_pictures_and_marks_a_diverged_run(door: Door, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs --extra mlflow")
    door("train.py", *SHORT, "logger=mlflow", "hydra.run.dir=run")
    door("train.py", *SHORT, "logger=mlflow", "hydra.run.dir=diverged", "optimizer.lr=1e30", expect=2)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/logs/mlflow.db")
    run, diverged = (client.get_run(run_json(tmp_path / x)["loggers"]["MLFlowLogger"]) for x in ("run", "diverged"))
    assert run.data.params["optimizer.lr"] == "0.1"
    assert set(run.data.metrics) >= LOGGED
    assert list((tmp_path / "logs" / "mlflow").rglob("confusion/*.png"))
    assert (run.info.status, diverged.info.status) == ("FINISHED", "FAILED")


def hparams(board: Board, tag: str) -> Any:
    """What a run tells TensorBoard's HParams page."""
    content = board.events.summary_metadata[f"_hparams_/{tag}"].plugin_data.content
    return getattr(plugin_data_pb2.HParamsPluginData.FromString(content), tag)


@pytest.mark.slow
def test_a_sweep_is_rows_of_its_settings_and_results(door: Door, tmp_path: Path) -> None:
    short = ("callbacks=bare", "debug=fast", "trainer.max_epochs=2", "hydra.sweep.dir=sweep")
    door("train.py", "-m", "optimizer.lr=0.05,0.2,1e38", "model.activation=tanh", "sweep.report=false", *short)
    ends = [hparams(Board(tmp_path / "sweep" / f"optimizer.lr@{lr}"), "session_end_info") for lr in (0.2, 1e38)]
    assert [end.status for end in ends] == [api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE]
    for lr in (0.05, 0.2):
        folder = tmp_path / "sweep" / f"optimizer.lr@{lr}"
        assert len(list(folder.glob("events.out.tfevents.*"))) == 1
        board = Board(folder)
        given = hparams(board, "session_start_info").hparams
        settings = {name: getattr(value, value.WhichOneof("kind")) for name, value in given.items()}
        assert settings["optimizer.lr"] == pytest.approx(lr)
        assert (settings["model.activation"], settings["model"], settings["seed"]) == ("tanh", "MLP", 0)
        assert settings["callbacks"] == "bare"  # the choice, not all that it brings
        assert not [key for key in settings if key.startswith("hydra")]
        assert "_hparams_/experiment" not in board.events.summary_metadata, "columns of one run for all"
        assert "hp_metric" not in board.tags["scalars"]
        assert (len(board.scalars("val/acc")), len(board.scalars("test/acc"))) == (2, 1)


def test_metrics_besides_accuracy_are_written_monitored_and_evaluated(door: Door, tmp_path: Path) -> None:
    given = ("metrics=full", "trainer.max_epochs=1", "data.batch_size=1000", "logger=none", "hydra.run.dir=run")
    told = door("train.py", *given, "callbacks.checkpoint.monitor=val/f1").stdout
    found = metrics(tmp_path / "run")
    by_class = [value for name, value in found.items() if name.startswith("test/acc_of/")]
    # Each class has as many test images, so that means over images and over classes are the same.
    assert (len(by_class), sum(by_class) / 10) == (10, pytest.approx(found["test/acc"], abs=1e-5))
    assert found["test/balanced_acc"] == pytest.approx(found["test/acc"], abs=1e-5)
    assert found["test/acc"] < found["test/top5"] <= 1
    assert 0 < found["test/ece"] < 1
    assert 0.5 < found["best/val/auroc"] <= 1
    assert "val/f1" in (tmp_path / "run" / "metrics.csv").read_text()
    tested = door("evaluate.py", "run=run").stdout
    assert all(f"{found['test/f1']:.4f}\n" in text for text in (told, tested))
    assert (told.count("test/acc_of/"), tested.count("test/acc_of/")) == (0, 10), "evaluation writes no file"
    other = ("callbacks.checkpoint.monitor=val/f2", "hydra.run.dir=other")
    assert "val/f2" in door("train.py", *given, *other, expect=2).stderr
