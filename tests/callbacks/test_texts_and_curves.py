"""What is written once: text, planned rates, layouts, curves of activation functions, the graph."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.compat.proto.graph_pb2 import GraphDef
from torch import nn

from imgclf.callbacks.activation_curves import ActivationCurves, activations
from imgclf.callbacks.graph import Graph
from imgclf.callbacks.histograms import Histograms
from imgclf.callbacks.memory import Memory, process_megabytes
from imgclf.callbacks.overlays import LAYOUT, Overlays
from imgclf.callbacks.planned_rate import PlannedRate
from imgclf.callbacks.run_text import RunText, texts
from imgclf.callbacks.schedule_picture import SchedulePicture
from imgclf.errors import InputError
from imgclf.run_folder import RunFolder, write_whole


def test_the_command_the_configuration_and_where_it_came_from_are_text(fit: Any, told: Any, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_config("model:\n  dropout: 0.5\n")
    write_whole(folder.overrides_file, json.dumps(["model.dropout=0.5", "model.hidden_sizes=[1, 2]"]))
    folder.write_run(git={"commit": "abc", "changed": ["train.py"]}, versions={"torch": "9.9"}, host="desk")
    board = fit(told, RunText())
    assert board.text("run/command") == "    uv run scripts/train.py model.dropout=0.5 'model.hidden_sizes=[1, 2]'\n"
    assert board.text("run/configuration") == "    model:\n      dropout: 0.5\n"
    assert {"| commit | abc |", "| changed since the commit | train.py |", "| torch | 9.9 |", "| host | desk |"} <= set(
        board.text("run/provenance").splitlines()
    )


def test_a_long_command_is_one_that_can_be_pasted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    write_whole(folder.overrides_file, json.dumps([f"model.number_{i}={i}" for i in range(20)]))
    lines = texts(folder)["command"].splitlines()
    assert lines[0] == "    uv run scripts/train.py \\"
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert lines[-1].strip() == "model.number_19=19"


def test_a_folder_without_anything_has_no_text(tmp_path: Path) -> None:
    assert texts(RunFolder(tmp_path)) == {}


def test_the_planned_rate_is_what_the_run_then_does(fit: Any, told: Any) -> None:
    board = fit(told, PlannedRate(points=200), lr=0.25, max_epochs=3)
    assert board.scalars("lr/planned") == board.scalars("lr") == [(0, 0.25), (2, 0.25), (4, 0.25)]


def test_a_long_plan_has_so_many_points_with_the_first_and_the_last(fit: Any, told: Any) -> None:
    planned = fit(told, PlannedRate(points=5), max_epochs=101, limit_train_batches=0.5).scalars("lr/planned")
    assert [step for step, _ in planned] == [0, 25, 50, 75, 100]


def test_a_run_without_an_end_has_no_plan(fit: Any, told: Any) -> None:
    board = fit(told, PlannedRate(points=5), SchedulePicture(), Stop(), max_epochs=-1)
    assert "lr/planned" not in board.tags["scalars"]
    assert board.tags["images"] == []


class Stop(Memory):
    """Ends a run after its first epoch."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = True


def test_the_schedule_is_drawn_once(fit: Any, told: Any) -> None:
    board = fit(told, SchedulePicture(), max_epochs=3)
    assert board.image_steps("schedule") == [0]
    assert board.image("schedule").shape[1] == 1200


def test_training_and_validation_are_laid_out_in_one_chart(fit: Any, told: Any) -> None:
    board = fit(told, Overlays(), PlannedRate(points=9), Memory())
    assert "custom_scalars__config__" in board.tags["tensors"]
    tags = {tag.rstrip("$") for charts in LAYOUT.values() for _, found in charts.values() for tag in found}
    assert tags <= set(board.tags["scalars"])


def test_memory_is_that_of_the_process(fit: Any, told: Any) -> None:
    if process_megabytes() is None:
        pytest.skip("this system does not tell a process's memory")
    ballast = np.ones(30 * 2**20, dtype=np.uint8)
    before = process_megabytes()
    assert before is not None
    ((step, measured),) = fit(told, Memory()).scalars("memory/process_MB")
    assert step == 1
    assert before - 30 < measured < before + 500
    assert len(ballast) > 0


def test_learnt_slopes_are_drawn_for_each_layer_and_at_the_end_again(fit: Any, told: Any) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.PReLU(), nn.Linear(3, 3), nn.PReLU())
    curves = ActivationCurves(low=-1.0, high=1.0, points=11)
    assert [name for name, _ in activations(net)] == ["prelu 2", "prelu 4"]
    assert fit(told, curves, net=net).image_steps("activations") == [0, 1]


def test_each_other_function_is_drawn_once(fit: Any, told: Any) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Tanh())
    assert [name for name, _ in activations(net)] == ["relu", "tanh"]
    board = fit(told, ActivationCurves(low=-1.0, high=1.0, points=11), net=net)
    assert board.image_steps("activations") == [0]


def test_a_network_without_any_or_with_a_slope_that_is_no_number_is_not_drawn(fit: Any, told: Any) -> None:
    curves = ActivationCurves(low=-1.0, high=1.0, points=11)
    assert fit(told, curves).tags["images"] == []
    lost = nn.PReLU(init=float("nan"))
    assert fit(told, curves, net=nn.Sequential(nn.Flatten(), nn.Linear(64, 3), lost)).tags["images"] == []


def test_the_graph_names_the_modules(fit: Any, told: Any) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    events = fit(told, Graph(), net=net).events
    graph = GraphDef.FromString(events.Graph().SerializeToString())
    assert any("Linear[1]" in node.name for node in graph.node)


def test_a_network_that_cannot_be_traced_is_trained_with_a_warning(
    fit: Any, told: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if torch.jit.is_tracing():
                raise RuntimeError("not me")
            return images[:, 0, 0, :3] * self.scale

    monkeypatch.setattr(logging.getLogger("imgclf"), "propagate", True)
    board = fit(told, Graph(), net=Stubborn())
    assert "Stubborn cannot be traced: not me" in caplog.text
    assert len(board.scalars("train/loss")) == 1


def test_histograms_hold_every_weight_and_gradient(fit: Any, told: Any) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    events = fit(told, Histograms(bins=4, every_n_epochs=2), net=net, lr=0.1, max_epochs=3).events
    assert set(events.Tags()["histograms"]) == {
        "weights/1.weight",
        "weights/1.bias",
        "gradients/1.weight",
        "gradients/1.bias",
    }
    found = events.Histograms("weights/1.weight")
    assert [event.step for event in found] == [3, 5]  # the last steps of the second epoch and of the last
    value = found[-1].histogram_value
    assert value.num == sum(value.bucket) == 3 * 64
    assert value.max == value.bucket_limit[-1]
    assert value.min < value.bucket_limit[0]


def test_weights_that_are_no_numbers_are_counted(fit: Any, told: Any) -> None:
    linear = nn.Linear(64, 3)
    with torch.no_grad():
        linear.bias[1] = float("inf")
        linear.bias[2] = float("nan")
    net = nn.Sequential(nn.Flatten(), linear)
    board = fit(told, Histograms(bins=4, every_n_epochs=1), net=net, limit_train_batches=1)
    assert board.scalars("not_finite/weights/1.bias") == [(0, 2.0)]
    assert board.events.Histograms("weights/1.bias")[0].histogram_value.num == 1


@pytest.mark.parametrize(
    ("kind", "settings", "key"),
    [
        (PlannedRate, {"points": 1}, "planned_rate.points"),
        (ActivationCurves, {"low": 1.0, "high": 1.0, "points": 9}, "activation_curves"),
        (Histograms, {"bins": 0, "every_n_epochs": 1}, "histograms.bins"),
        (Histograms, {"bins": 1, "every_n_epochs": 0}, "histograms.every_n_epochs"),
    ],
)
def test_what_makes_no_sense_is_refused(kind: Any, settings: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError, match=key):
        kind(**settings)
