"""Run folders made up for reports."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

CONFIG = """{name: mlp, seed: 0, data: {_target_: imgclf.data.fashion_mnist.FashionMNISTMini, seed: 0},
model: {_target_: imgclf.models.mlp.MLP, hidden_sizes: [256]}, optimizer: {_target_: torch.optim.SGD, lr: 0.1},
trainer: {max_epochs: 3}}"""

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Write a run folder: ``make_run("s/0", {"optimizer.lr": 0.3}, seed=1, acc=0.8)``; its losses are 1 - acc."""

    def make(
        name: str, settings: Any = (), *, seed: int = 0, acc: float = 0.8, metrics: Any = None, epochs: int = 3,
        outcome: str = "finished", overrides: Any = None, **about: Any,
    ) -> Path:  # fmt: skip
        folder, config, settings = tmp_path / name, yaml.safe_load(CONFIG), dict(settings)
        (folder / ".hydra").mkdir(parents=True)
        for key, value in ({"seed": seed, "data.seed": seed} | settings).items():
            *groups, last = key.split(".")
            node = config
            for group in groups:
                node = node.setdefault(group, {})
            node[last] = value
        given = [f"{key}={value}" for key, value in settings.items()] + [f"seed={seed}"]
        (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(overrides or given))
        (folder / "run.json").write_text(json.dumps({"host": "here", "seed": seed, "outcome": outcome} | about))
        loss = math.nan if outcome == "diverged" else 1 - acc
        rows = [f"{e},4e-07,{acc * (e + 1) / epochs},{loss},1.0\n" for e in range(epochs)]
        (folder / "metrics.csv").write_text("epoch,lr,val/acc,val/loss,seconds\n" + "".join(rows))
        if outcome in ("finished", "diverged"):
            final = {f"{stage}/acc": acc for stage in ("train", "val", "test", "best/val")} | {"val/loss": loss}
            final |= {"epochs": epochs, "seconds": 12.0, "images_per_second": 50_000.0}
            text = json.dumps(final if metrics is None else metrics).replace("NaN", "null")
            (folder / "metrics.json").write_text(text)
        return folder

    return make
