"""What TensorBoard is shown changes nothing of a run."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from conftest import Door
from omegaconf import OmegaConf
from run_files import metrics, table, weights
from torch import Tensor, nn

from imgclf.callbacks.activation_curves import ActivationCurves
from imgclf.callbacks.confusion import Confusion
from imgclf.callbacks.graph import Graph
from imgclf.callbacks.histograms import Histograms
from imgclf.callbacks.inputs import Inputs
from imgclf.callbacks.memory import Memory
from imgclf.callbacks.mistakes import Mistakes
from imgclf.callbacks.overlays import Overlays
from imgclf.callbacks.planned_rate import PlannedRate
from imgclf.callbacks.run_text import RunText
from imgclf.callbacks.schedule_picture import SchedulePicture
from imgclf.callbacks.step_scalars import StepScalars


def all_of_them() -> list[pl.Callback]:
    return [
        RunText(),
        StepScalars(),
        Memory(),
        PlannedRate(points=9),
        Overlays(),
        SchedulePicture(),
        ActivationCurves(low=-1.0, high=1.0, points=9),
        Graph(),
        Histograms(bins=8, every_n_epochs=1),
        Inputs(images=2, columns=2, every_n_epochs=1),
        Confusion(every_n_epochs=1),
        Mistakes(images=2, columns=2, every_n_epochs=1),
    ]


class Gambler(nn.Module):
    """Draws from every global generator at each forward pass, in training and in validation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.PReLU(), nn.Linear(8, 3))
        self.frozen = nn.Dropout(0.5).eval()  # in another mode than the rest
        self.draws: list[float] = []

    def forward(self, images: Tensor) -> Tensor:
        if not torch.jit.is_tracing():
            self.draws += [random.random(), float(np.random.rand()), float(torch.rand(()))]
        return self.frozen(self.layers(images))


class Modes(pl.Callback):
    """Notes which parts of the network are in training mode, whenever anything else may have changed that."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, list[bool]]] = []

    def _note(self, hook: str, pl_module: pl.LightningModule) -> None:
        self.seen.append((hook, [part.training for part in pl_module.modules()]))

    def on_train_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self._note("train", pl_module)

    def on_validation_batch_start(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self._note("validation", pl_module)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self._note("validated", pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._note("end", pl_module)


def trained(fit: Any, told: Any, callbacks: list[pl.Callback]) -> tuple[Any, ...]:
    """All that may differ: weights and running means, draws, the state of all generators, modes."""
    random.seed(1)
    np.random.seed(2)
    net, modes = Gambler(), Modes()
    torch.manual_seed(3)
    fit(told, *callbacks, modes, net=net, lr=0.1, max_epochs=3)
    state = {name: value.tolist() for name, value in net.state_dict().items()}
    generators = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    return state, net.draws, generators, modes.seen


def test_no_number_is_drawn_and_no_mode_is_changed(fit: Any, told: Any) -> None:
    plain = trained(fit, told, [])
    shown = trained(fit, told, all_of_them())
    for one, other in zip(plain, shown, strict=True):
        assert one == other


def test_all_of_them_do_write(fit: Any, told: Any) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.ReLU())
    tags = fit(told, *all_of_them(), net=net).tags
    assert len(tags["images"]) == 7
    assert len(tags["histograms"]) == 4
    assert tags["graph"]


def test_every_callback_of_the_configurations_is_among_them(root: Path) -> None:
    files = [root / "conf" / "callbacks" / f"{name}.yaml" for name in ("default", "pictures", "histograms")]
    entries = [entry for file in files for key, entry in OmegaConf.load(file).items() if key != "defaults"]
    names = {str(entry["_target_"]).rpartition(".")[2] for entry in entries}
    assert names == {type(callback).__name__ for callback in all_of_them()}


def test_the_command_gives_the_very_numbers_with_and_without(door: Door, tmp_path: Path) -> None:
    run = ("trainer.max_epochs=2", "data.batch_size=500", "model.dropout=0.5", "data.augment=pad_crop_flip")
    often = [f"callbacks.{name}.every_n_epochs=1" for name in ("inputs", "confusion", "mistakes")]
    door("train.py", *run, "callbacks=bare", "hydra.run.dir=bare")
    door("train.py", *run, "callbacks=[pictures,histograms]", *often, "hydra.run.dir=shown")
    bare, shown = tmp_path / "bare", tmp_path / "shown"
    assert metrics(bare) == metrics(shown)
    assert table(bare) == table(shown)
    one, other = weights(bare), weights(shown)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
