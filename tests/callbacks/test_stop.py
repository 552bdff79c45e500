"""Runs that end, or validate, inside an epoch (of 36 batches), by a signal, or as their loss is no number any more."""

import re
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Door
from run_files import metrics, run_json, table, weights

from imgclf.callbacks import stop
from imgclf.distributed import LOOK_EVERY
from imgclf.errors import Interrupted

Train = Callable[..., dict[str, Any]]


@pytest.fixture
def train(door: Door, tmp_path: Path) -> Train:
    def run(folder: str, *arguments: str) -> dict[str, Any]:
        door("train.py", "callbacks=bare", "logger=none", *arguments, f"hydra.run.dir={folder}")
        return metrics(tmp_path / folder)

    return run


def step_of(tmp_path: Path, name: str) -> int:
    return int(torch.load(tmp_path / name, weights_only=True)["global_step"])


def test_a_run_cut_off_by_its_steps_has_figures_of_its_own_and_goes_on(
    train: Train, door: Door, tmp_path: Path
) -> None:
    reached = train("cut", "+trainer.max_steps=50", "trainer.max_epochs=2")
    first, second = table(tmp_path / "cut")
    assert (first["step"], second["step"]) == ("36", "50")
    assert first["train/loss"] != second["train/loss"]
    assert first["val/loss"] != second["val/loss"]
    assert reached["epochs"] == 2
    assert reached["train/loss"] == float(second["train/loss"])
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
    reached, rows = train("run", *limit), table(tmp_path / "run")
    assert len(rows) == reached["epochs"]
    assert step_of(tmp_path, "run/checkpoints/last.ckpt") == int(rows[-1]["step"])
    assert {"test/acc", "val/acc", "train/acc", "best/val/acc"} <= reached.keys()


def test_the_best_validation_within_an_epoch_keeps_its_weights_and_figures(
    train: Train, door: Door, tmp_path: Path
) -> None:
    reached = train("run", "+trainer.val_check_interval=10", "trainer.max_epochs=2")
    best = step_of(tmp_path, "run/checkpoints/best.ckpt")
    assert best not in (36, 72)  # or another seed is needed, where the best is within an epoch
    assert len(table(tmp_path / "run")) == 2
    cut = train("at_best", f"+trainer.max_steps={best}", "trainer.max_epochs=2")
    assert (cut["val/acc"], cut["val/loss"]) == (reached["best/val/acc"], reached["best/val/loss"])
    one, other = weights(tmp_path / "run", "best"), weights(tmp_path / "at_best")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_validation_counted_over_epochs(train: Train, tmp_path: Path) -> None:
    settings = ("+trainer.val_check_interval=50", "trainer.check_val_every_n_epoch=null", "trainer.max_epochs=3")
    reached = train("run", *settings)
    assert [bool(row["val/acc"]) for row in table(tmp_path / "run")] == [False, True, True]
    assert step_of(tmp_path, "run/checkpoints/best.ckpt") in (50, 100)
    assert reached["best/val/acc"] == max(float(row["val/acc"]) for row in table(tmp_path / "run")[1:])
    # Cut off after the validation of the second epoch: its figures are still those of that epoch.
    train("half", *settings, "+trainer.max_steps=60", "trainer.limit_val_batches=0")
    assert step_of(tmp_path, "half/checkpoints/last.ckpt") == 60


def test_a_run_that_never_validates_tests_its_last_epoch(train: Train, tmp_path: Path) -> None:
    assert train("run", "trainer.check_val_every_n_epoch=5", "trainer.max_epochs=2")["best_epoch"] == 1
    assert not any("val/acc" in row for row in table(tmp_path / "run"))


def test_a_profiler_prints_its_table(door: Door) -> None:
    assert "Profiler Report" in door("train.py", "trainer.profiler=simple", "debug=fast", "logger=none").stderr


@pytest.mark.parametrize("setting", ["trainer.enable_model_summary=true", "+logger.tensorboard.log_graph=true"])
def test_an_example_input_reaches_the_network_as_it_is(door: Door, setting: str) -> None:
    door("train.py", "debug=fast", "trainer.precision=32-true", setting)


@pytest.mark.parametrize("every", ["null", "1"])
def test_a_loss_that_is_no_number_ends_the_run_and_no_such_weights_are_kept(
    door: Door, tmp_path: Path, every: str
) -> None:
    settings = ("logger=none", "data.batch_size=1000", "trainer.max_epochs=4", "optimizer.lr=1e30")
    saving = f"callbacks.checkpoint.every_n_steps={every}"
    told = door("train.py", *settings, saving, "hydra.run.dir=run", expect=2).stderr
    assert told.count("error: ") == 1
    assert "Traceback" not in told
    assert re.search(r"error: .* (nan|inf) in epoch 1 of 4 .*1 to 9, .*1e\+30.*optimizer\.lr.*gradient_clip_val", told)
    run = tmp_path / "run"
    for file in (run / "checkpoints").glob("*"):
        assert every == "1", "no weights that are no numbers"
        assert file.name == "last.ckpt"
        assert all(torch.isfinite(tensor).all() for tensor in weights(run).values())
    assert run_json(run)["outcome"] == "diverged"
    assert "training loss became nan" in run_json(run)["error"]
    assert not (run / "error.txt").exists()
    assert metrics(run)["train/loss"] is None


def test_later_the_epochs_before_are_kept_and_can_be_gone_on_from(door: Door, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(
        "from pytorch_lightning import Callback\n"
        "class Late(Callback):\n"
        "    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):\n"
        "        if trainer.current_epoch == 2 and trainer.gradient_clip_val is None:\n"
        "            trainer.optimizers[0].param_groups[0]['lr'] = 1e30\n"
    )
    own, run = {"PYTHONPATH": str(tmp_path)}, tmp_path / "run"
    given = ("logger=none", "data.batch_size=1000", "trainer.max_epochs=4", "+callbacks.late._target_=late.Late")
    told = door("train.py", *given, "hydra.run.dir=run", expect=2, **own).stderr
    assert "nan in epoch 3 of 4 (optimizer steps 19 to 27, " in told
    assert f"resume={run}" in told
    assert [row["train/loss"] == "nan" for row in table(run)] == [False, False, True]
    for name in ("last", "best"):
        assert torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["epoch"] == 1
        assert all(bool(tensor.isfinite().all()) for tensor in weights(run, name).values())
    assert metrics(run)["epochs"] == 2
    assert metrics(run)["best/val/acc"] > 0.5
    door("train.py", "resume=run", "trust=[late.]", "trainer.gradient_clip_val=1.0", **own)
    assert (metrics(run)["epochs"], run_json(run)["outcome"]) == (4, "finished")


def test_a_sweep_has_a_row_for_it_and_goes_on(door: Door) -> None:
    given = ("logger=none", "callbacks=bare", "data.batch_size=1000", "trainer.max_epochs=1", "optimizer.lr=1e30,0.1")
    done = door("train.py", "-m", *given, "hydra.sweep.dir=sweep")
    assert "the training loss became nan in epoch 1" in done.stderr
    assert "2 of 2 jobs finished" in done.stdout
    assert re.search(r"optimizer\.lr@1e\+30 +diverged +", done.stdout), done.stdout
    assert "2 finished before" in door("train.py", "-m", "sweep.resume=sweep").stdout


def test_processes_ask_each_other_every_few_steps_and_lose_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "can_resume_after", lambda trainer: True)
    callback = stop.StopOnSignal(checkpoint=None)
    asked: list[int] = []
    trainer: Any = SimpleNamespace(world_size=2, global_step=0)

    def reduce(value: torch.Tensor, reduce_op: str) -> torch.Tensor:
        asked.append(trainer.global_step)
        if len(asked) == 2:  # while they ask
            callback._note(signal.SIGTERM, None)
        return value

    trainer.strategy = SimpleNamespace(root_device=torch.device("cpu"), reduce=reduce)

    def train() -> None:
        for trainer.global_step in range(1, 100):
            callback.on_train_batch_end(trainer)

    with pytest.raises(Interrupted, match="SIGTERM"):
        train()
    assert asked == [LOOK_EVERY, 2 * LOOK_EVERY, 3 * LOOK_EVERY]
