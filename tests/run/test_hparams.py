"""A sweep on TensorBoard's HParams page, read back with TensorBoard's own reader."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Door
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2


def row(folder: Path) -> tuple[dict[str, Any], set[str], dict[str, list[float]]]:
    """Settings, the columns of results, and each scalar's values in the order they were written."""
    events = EventAccumulator(str(folder))
    events.Reload()
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    experiment = plugin_data_pb2.HParamsPluginData.FromString(
        events.summary_metadata["_hparams_/experiment"].plugin_data.content
    ).experiment
    columns = {metric.name.tag for metric in experiment.metric_infos}
    settings = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    return settings, columns, {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_a_sweep_is_rows_of_its_settings_and_results(door: Door, tmp_path: Path) -> None:
    short = ("callbacks=bare", "trainer.max_epochs=2", "data.batch_size=1000", "hydra.sweep.dir=sweep")
    door("train.py", "-m", "optimizer.lr=0.05,0.2", "model.activation=tanh", *short)
    for name, lr in (("optimizer.lr@0.05", 0.05), ("optimizer.lr@0.2", 0.2)):
        assert len(list((tmp_path / "sweep" / name).glob("events.out.tfevents.*"))) == 1
        settings, columns, scalars = row(tmp_path / "sweep" / name)
        assert settings["optimizer.lr"] == pytest.approx(lr)
        assert settings["model.activation"] == "tanh"
        assert settings["model"] == "MLP"
        assert settings["seed"] == 0
        assert not [key for key in settings if key.startswith("hydra")]
        assert "hp_metric" not in scalars
        assert settings["callbacks"] == "bare"  # the choice, not all that it brings
        # The columns of results are the curves themselves, which have their epochs and nothing more.
        assert columns <= set(scalars)
        assert {"accuracy/test", "loss/val", "speed/images_per_second"} <= columns
        assert len(scalars["accuracy/val"]) == 2
        assert len(scalars["accuracy/test"]) == 1
        assert scalars["accuracy/test"][-1] > 0.3
