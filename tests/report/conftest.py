"""Run folders made up for reports."""

import copy
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG: dict[str, Any] = {
    "name": "mlp",
    "seed": 0,
    "data": {"_target_": "imgclf.data.fashion_mnist.FashionMNISTMini", "resize": 28, "batch_size": 256, "seed": 0},
    "model": {"_target_": "imgclf.models.mlp.MLP", "image_size": 28, "hidden_sizes": [256], "dropout": 0.0},
    "optimizer": {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0},
    "schedule": {"_target_": "imgclf.schedules.callback.Constant", "warmup_updates": 0},
    "trainer": {"_target_": "pytorch_lightning.Trainer", "max_epochs": 3, "profiler": None},
    "logger": {"tensorboard": {"_target_": "pytorch_lightning.loggers.TensorBoardLogger", "save_dir": "${folder}"}},
}

MakeRun = Callable[..., Path]


def nested(settings: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """A configuration with some dotted keys set; null as a value of ``DELETE`` takes the key out."""
    config = copy.deepcopy(base)
    for key, value in settings.items():
        *groups, last = key.split(".")
        node = config
        for group in groups:
            node = node.setdefault(group, {})
        if value == "DELETE":
            node.pop(last, None)
        else:
            node[last] = value
    return config


def rows_of(acc: float, loss: float | None, epochs: int, lr: float) -> list[dict[str, Any]]:
    """Epochs that come nearer and nearer to the final numbers."""
    rows = []
    for e in range(epochs):
        share = (e + 1) / epochs
        numbers = {"train/acc": acc * share, "val/acc": acc * share}
        value = float("nan") if loss is None else loss / share
        losses = {"train/loss": value, "val/loss": value}
        rows.append({"epoch": e, "step": 10 * (e + 1), "lr": lr, **numbers, **losses, "seconds": 1.0})
    return rows


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a run folder: ``make_run("sweep/0", {"optimizer.lr": 0.3}, seed=1, acc=0.8)``."""

    def make(
        name: str,
        settings: dict[str, Any] | None = None,
        *,
        overrides: list[str] | None = None,
        seed: int = 0,
        acc: float = 0.8,
        loss: float | None = 0.5,
        test_acc: float | None = None,
        metrics: dict[str, Any] | None = None,
        outcome: str = "finished",
        error: str | None = None,
        epochs: int = 3,
        **about: Any,
    ) -> Path:
        folder = tmp_path / name
        (folder / ".hydra").mkdir(parents=True)
        settings = settings or {}
        config = nested({"seed": seed, "data.seed": seed} | settings, CONFIG)
        given = overrides if overrides is not None else [f"{k}={v}" for k, v in settings.items()] + [f"seed={seed}"]
        (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(given))
        run = {"command": "scripts/train.py", "git": {"commit": "1cdeefd0" * 5, "dirty": False}, "host": "here"}
        run |= {"versions": {"torch": "2.15.0"}, "start": "2026-11-21T13:15:58+00:00", "seed": seed}
        (folder / "run.json").write_text(json.dumps(run | {"outcome": outcome, "error": error} | about))
        rows = rows_of(acc, loss, epochs, config["optimizer"].get("lr", 0.1))
        if rows:
            with (folder / "metrics.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
        if outcome == "finished":
            final = {
                f"{stage}/{kind}": v for stage in ("train", "val", "test") for kind, v in (("acc", acc), ("loss", loss))
            }
            final["best/val/acc"] = acc
            final["test/acc"] = acc if test_acc is None else test_acc
            final |= {"epochs": epochs, "seconds": 12.0, "images_per_second": 50_000.0}
            (folder / "metrics.json").write_text(json.dumps(final if metrics is None else metrics))
        return folder

    return make
