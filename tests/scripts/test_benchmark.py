"""scripts/benchmark.py as a user runs it, on little."""

import json
import os
import tempfile
from pathlib import Path

from conftest import ROOT, Door
from starter import Starter

from imgclf.benchmark import child
from imgclf.benchmark.ways import Ways
from imgclf.build import built
from imgclf.cli import compose

SMALL = ("benchmark.rounds=1", "benchmark.images=100", "benchmark.seconds=0")
ON_MINI = (
    "benchmark.parts=[training,loading,augmentation,decoding,evaluation,prediction,start,pictures,growth]",
    "benchmark.growth=[600,1200]",
    "~benchmark.training.lenet",
    "~benchmark.training.googlenet",
    "benchmark.training.mlp.overrides.data=fashion_mnist_mini",
    "benchmark.training.mlp.epochs=2",
    "benchmark.pictures.overrides={data:fashion_mnist_mini,model:mlp}",
    "benchmark.pictures.epochs=2",
    "benchmark.training.resnet18.batches=1",
    "benchmark.training.resnet18.overrides={data:kaggle_cifar10,model:lenet,data.batch_size:16,optimizer.momentum:0.9}",
)


class Forked(Ways):
    """Each measurement in a process of its own that need not import torch first: what is measured is another matter."""

    starter: Starter
    place: Path

    def _output(self, command: list[str]) -> str:
        if command[1] == "-c":
            return ""  # nothing but imports
        words = [child.__file__, *command[3:]] if command[1] == "-m" else command[1:]
        with tempfile.TemporaryDirectory() as out:
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            done = self.starter.run(words, self.place, environment, Path(out), seconds=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def test_every_part_is_measured(starter: Starter, tmp_path: Path) -> None:
    plan = built(compose([*SMALL, *ON_MINI], "benchmark"), "benchmark")
    Forked.starter, Forked.place = starter, tmp_path
    rows = Forked(plan, tmp_path / "work", ROOT / "scripts").comparisons()
    for row in rows:
        row.measure(0)
    assert {row.name: set(row.values) for row in rows} == {
        "training mlp": {"product", "limit", "plain"},
        "training resnet18": {"product", "limit", "plain"},
        "Fashion-MNIST batches": {"product", "plain"},
        "augmented batches of PNG files": {"product", "plain"},
        "augmentation alone": {"product", "plain"},
        "decoding PNG files": {"product", "limit"},
        "evaluating resnet18": {"product", "plain"},
        "predicting resnet18": {"product", "plain"},
        "start to first step (limit: imports)": {"product", "limit"},
        "TensorBoard (limit: curves alone)": {"product", "limit"},
        "all pictures (limit: epochs without)": {"product", "limit"},
        "training mlp on 600": {"product"},
        "600: memory without mapped files": {"product"},
        "training mlp on 1,200": {"product"},
        "1,200: memory without mapped files": {"product"},
    }
    assert all(value > 0 for row in rows for values in row.values.values() for value in values)


def test_what_is_measured_is_shown_and_written_down(door: Door, tmp_path: Path) -> None:
    shown = door("benchmark.py", *SMALL, "benchmark.parts=[decoding]", "hydra.run.dir=out").stdout
    (result,) = json.loads((tmp_path / "out" / "benchmark.json").read_text())["results"]
    assert result["name"] == "decoding PNG files"
    assert {name: len(values) for name, values in result["values"].items()} == {"product": 1, "limit": 1}
    assert "decoding PNG files, images/s" in shown
    assert (tmp_path / "out" / "benchmark.png").stat().st_size > 5000
    assert not (tmp_path / "out" / "work").exists()


def test_an_unknown_part_is_named_before_anything_is_measured(door: Door) -> None:
    done = door("benchmark.py", "benchmark.parts=[training,flying]", expect=2)
    assert "flying" in done.stderr
    assert "prediction" in done.stderr
