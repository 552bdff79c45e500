"""scripts/benchmark.py as a user runs it, on little."""

import json
from pathlib import Path

from conftest import Door

SMALL = ("benchmark.rounds=1", "benchmark.images=100", "hydra.run.dir=out")
MLP_ONLY = ("~benchmark.training.lenet", "~benchmark.training.googlenet")
ON_MINI = (
    "benchmark.training.mlp.overrides.data=fashion_mnist_mini",
    "benchmark.training.mlp.epochs=2",
    "benchmark.pictures.overrides={data:fashion_mnist_mini,model:mlp}",
    "benchmark.pictures.epochs=2",
    "benchmark.training.resnet18.batches=1",
    "benchmark.training.resnet18.overrides={data:kaggle_cifar10,model:lenet,data.batch_size:16,optimizer.momentum:0.9}",
)


def test_every_part_is_measured_and_written_down(door: Door, tmp_path: Path) -> None:
    shown = door("benchmark.py", *SMALL, *MLP_ONLY, *ON_MINI).stdout
    results = {r["name"]: r for r in json.loads((tmp_path / "out" / "benchmark.json").read_text())["results"]}
    ways = {name: set(result["values"]) for name, result in results.items()}
    assert ways == {
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
    }
    assert all(value > 0 for result in results.values() for values in result["values"].values() for value in values)
    assert all(name in shown for name in results)
    assert (tmp_path / "out" / "benchmark.png").stat().st_size > 5000
    assert not (tmp_path / "out" / "work").exists()


def test_an_unknown_part_is_named_before_anything_is_measured(door: Door) -> None:
    done = door("benchmark.py", "benchmark.parts=[training,flying]", expect=2)
    assert "flying" in done.stderr
    assert "prediction" in done.stderr
