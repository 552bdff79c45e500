"""Runs that end, or validate, inside an epoch: figures, checkpoints, resuming. 36 batches an epoch."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Door
from run_files import table, weights

Train = Callable[..., dict[str, Any]]


@pytest.fixture
def train(door: Door, tmp_path: Path) -> Train:
    def run(folder: str, *arguments: str) -> dict[str, Any]:
        door("train.py", "callbacks=bare", "logger=none", *arguments, f"hydra.run.dir={folder}")
        metrics: dict[str, Any] = json.loads((tmp_path / folder / "metrics.json").read_text())
        return metrics

    return run


def step_of(tmp_path: Path, name: str) -> int:
    return int(torch.load(tmp_path / name, weights_only=True)["global_step"])


def test_a_run_cut_off_by_its_steps_has_figures_of_its_own_and_goes_on(
    train: Train, door: Door, tmp_path: Path
) -> None:
    metrics = train("cut", "+trainer.max_steps=50", "trainer.max_epochs=2")
    first, second = table(tmp_path / "cut")
    assert (first["step"], second["step"]) == ("36", "50")
    assert first["train/loss"] != second["train/loss"]
    assert first["val/loss"] != second["val/loss"]
    assert metrics["epochs"] == 2
    assert metrics["train/loss"] == float(second["train/loss"])
    assert step_of(tmp_path, "cut/checkpoints/last.ckpt") == 50
    train("whole", "trainer.max_epochs=2")
    door("train.py", "resume=cut", "trainer.max_steps=72")
    assert table(tmp_path / "cut") == table(tmp_path / "whole")
    cut, whole = weights(tmp_path / "cut"), weights(tmp_path / "whole")
    assert all(torch.equal(cut[name], whole[name]) for name in whole)


@pytest.mark.parametrize(
    "limit",
    [("+trainer.max_steps=10", "trainer.max_epochs=1"), ("+trainer.max_time=00:00:00:01", "trainer.max_epochs=999")],
)
def test_a_run_may_end_before_its_first_epoch_or_by_the_clock(
    train: Train, tmp_path: Path, limit: tuple[str, ...]
) -> None:
    metrics = train("run", *limit)
    rows = table(tmp_path / "run")
    assert len(rows) == metrics["epochs"]
    assert step_of(tmp_path, "run/checkpoints/last.ckpt") == int(rows[-1]["step"])
    assert {"test/acc", "val/acc", "train/acc", "best/val/acc"} <= metrics.keys()


def test_the_best_validation_within_an_epoch_keeps_its_weights_and_figures(
    train: Train, door: Door, tmp_path: Path
) -> None:
    metrics = train("run", "+trainer.val_check_interval=10", "trainer.max_epochs=2")
    best = step_of(tmp_path, "run/checkpoints/best.ckpt")
    assert best not in (36, 72)  # or another seed is needed, where the best is within an epoch
    rows = table(tmp_path / "run")
    assert len(rows) == 2
    cut = train("at_best", f"+trainer.max_steps={best}", "trainer.max_epochs=2")
    assert cut["val/acc"] == metrics["best/val/acc"]
    assert cut["val/loss"] == metrics["best/val/loss"]
    kept = [
        torch.load(tmp_path / f, weights_only=True)["state_dict"]
        for f in ("run/checkpoints/best.ckpt", "at_best/checkpoints/last.ckpt")
    ]
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_validation_counted_over_epochs(train: Train, tmp_path: Path) -> None:
    settings = ("+trainer.val_check_interval=50", "trainer.check_val_every_n_epoch=null", "trainer.max_epochs=3")
    metrics = train("run", *settings)
    assert [bool(row["val/acc"]) for row in table(tmp_path / "run")] == [False, True, True]
    assert step_of(tmp_path, "run/checkpoints/best.ckpt") in (50, 100)
    assert metrics["best/val/acc"] == max(float(row["val/acc"]) for row in table(tmp_path / "run")[1:])
    # Cut off after the validation of the second epoch: its figures are still those of that epoch.
    train("half", *settings, "+trainer.max_steps=60", "trainer.limit_val_batches=0")
    assert step_of(tmp_path, "half/checkpoints/last.ckpt") == 60


def test_a_run_that_never_validates_tests_its_last_epoch(train: Train, tmp_path: Path) -> None:
    metrics = train("run", "trainer.check_val_every_n_epoch=5", "trainer.max_epochs=2")
    assert metrics["best_epoch"] == 1
    assert not any("val/acc" in row for row in table(tmp_path / "run"))


def test_weights_that_are_no_numbers_are_not_saved(door: Door, tmp_path: Path) -> None:
    run = ("optimizer.lr=1e30", "trainer.max_epochs=2", "callbacks.checkpoint.every_n_steps=1", "hydra.run.dir=run")
    door("train.py", *run, expect=2)
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(torch.isfinite(tensor).all() for tensor in last["state_dict"].values())
    assert not (tmp_path / "run" / "checkpoints" / "best.ckpt").exists()


def test_an_average_that_has_not_begun_is_the_network(door: Door, tmp_path: Path) -> None:
    run = ("trainer.max_epochs=2", "logger=none")
    door("train.py", *run, "callbacks=ema", "+callbacks.ema.update_starting_at_step=100", "hydra.run.dir=ema")
    door("train.py", *run, "hydra.run.dir=plain")
    assert table(tmp_path / "ema") == table(tmp_path / "plain")
    ema, plain = weights(tmp_path / "ema"), weights(tmp_path / "plain")
    assert all(torch.equal(ema[name], plain[name]) for name in plain)


@pytest.mark.parametrize("precision", ["bf16-true", "16-true"])
def test_sums_of_16_bit_training_are_not_16_bit(train: Train, precision: str) -> None:
    exact = train("exact", "trainer.max_epochs=1", "trainer.precision=32-true")
    metrics = train("run", "trainer.max_epochs=1", f"trainer.precision={precision}")
    assert metrics["train/loss"] == pytest.approx(exact["train/loss"], rel=0.01)


def test_a_profiler_prints_its_table(door: Door) -> None:
    assert "Profiler Report" in door("train.py", "trainer.profiler=simple", "trainer.max_epochs=1").stderr


LIGHTNING = "pytorch_lightning.callbacks"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["+trainer.overfit_batches=2"], "trainer.overfit_batches"),
        (["trainer.limit_val_batches=0.5"], "trainer.limit_val_batches"),
        (["trainer.limit_train_batches=0.001"], "trainer.limit_train_batches"),
        (["+trainer.val_check_interval=100"], "trainer.val_check_interval"),
        (["+trainer.sync_batchnorm=true", "trainer.accelerator=cpu"], "trainer.sync_batchnorm"),
        (["callbacks=[ema,swa]"], "ExponentialMovingAverage and StochasticWeightAveraging"),
        ([f"+callbacks.x._target_={LIGHTNING}.StochasticWeightAveraging", "+callbacks.x.swa_lrs=0.1"], "callbacks=swa"),
    ],
)
def test_what_cannot_work_is_refused_in_a_line(door: Door, arguments: list[str], named: str) -> None:
    printed = door("train.py", *arguments, expect=2).stderr.strip().splitlines()
    assert "Traceback" not in "".join(printed)
    assert printed[-1].startswith("error: ")
    assert named in printed[-1]


@pytest.mark.parametrize("setting", ["trainer.enable_model_summary=true", "+logger.tensorboard.log_graph=true"])
def test_an_example_input_reaches_the_network_as_it_is(door: Door, setting: str) -> None:
    door("train.py", "trainer.max_epochs=1", "trainer.precision=32-true", setting)
