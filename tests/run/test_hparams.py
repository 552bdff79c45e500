"""A sweep on TensorBoard's HParams page, read back with TensorBoard's own reader."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Door
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2


def row(folder: Path) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Settings, and each scalar's values in the order they were written."""
    events = EventAccumulator(str(folder))
    events.Reload()
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    settings = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    return settings, {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_a_sweep_is_rows_of_its_settings_and_results(door: Door, tmp_path: Path) -> None:
    short = ("trainer.max_epochs=2", "data.batch_size=1000", "hydra.sweep.dir=sweep")
    door("train.py", "-m", "optimizer.lr=0.05,0.2", "model.activation=tanh", *short)
    for name, lr in (("0", 0.05), ("1", 0.2)):
        assert len(list((tmp_path / "sweep" / name).glob("events.out.tfevents.*"))) == 1
        settings, scalars = row(tmp_path / "sweep" / name)
        assert settings["optimizer.lr"] == pytest.approx(lr)
        assert settings["model.activation"] == "tanh"
        assert settings["model"] == "MLP"
        assert settings["seed"] == 0
        assert not [key for key in settings if key.startswith("hydra")]
        assert "hp_metric" not in scalars
        assert scalars["hp/val/acc"][-1] == pytest.approx(scalars["val/acc"][-1])
        assert scalars["hp/test/acc"][-1] > 0.3
        assert len(scalars["val/acc"]) == 2  # the curve itself has its epochs and nothing more
