"""A stopped run goes on to the very numbers of one that nothing has stopped."""

import signal
from pathlib import Path

import pytest
from board_files import Board
from conftest import ROOT, Door, Doors, Start
from run_files import metrics, run_json
from sweep_runs import assert_same

SHORT = ("trainer.max_epochs=3", "data.batch_size=500")
# Dropout and a schedule by batch: what a step draws, and where it stands, must both continue.
RUN = (
    "trainer.max_epochs=8",
    "trainer.log_every_n_steps=4",
    "trainer.accumulate_grad_batches=2",
    "optimizer.momentum=0.9",
    "optimizer.lr=0.05",
    "model.dropout=0.3",
    "schedule=cosine",
    "schedule.interval=batch",
    "schedule.warmup_updates=20",
)
# A brake, found in this folder, that holds for as long as a file is there.
BRAKE = {"PYTHONPATH": str(ROOT / "tests")}
BRAKED = ("+callbacks.brake._target_=brake.Brake", "+callbacks.brake.file=${folder}/brake")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    doors(folder.parent)("train.py", *RUN, f"hydra.run.dir={folder}")
    return folder


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_stopped_run_continues_to_the_very_numbers(
    door: Door, start: Start, tmp_path: Path, undisturbed: Path, name: str
) -> None:
    signum = signal.Signals[name]
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "brake").touch()
    process = start(*RUN, *BRAKED, f"hydra.run.dir={folder}", **BRAKE)
    process.wait_for(folder / "metrics.csv", lines=4)
    process.send_signal(signum)
    output = process.communicate(timeout=300)[0]
    (folder / "brake").unlink()
    if signum == signal.SIGKILL:
        assert process.returncode == -signum
        assert run_json(folder)["outcome"] == "running"
    else:
        assert process.returncode == 128 + signum, output
        assert f"stopped by {name}; continue with: uv run scripts/train.py resume=" in output
        assert run_json(folder)["outcome"] == "interrupted"
    assert not (folder / "metrics.json").exists()

    door("train.py", f"resume={folder}", "trust=[brake.]", **BRAKE)
    assert_same(folder, undisturbed)
    curves = Board(folder).repeatable()
    assert curves == Board(undisturbed).repeatable(), "no point of a curve is missing, none is there twice"
    assert {"loss/train", "loss/train_steps", "gradient/norm", "rate/lr", "accuracy/test"} <= set(curves)
    assert run_json(folder)["outcome"] == "finished"
    assert len(run_json(folder)["resumed"]) == 1


def test_a_finished_run_is_trained_further_in_a_folder_that_was_moved(door: Door, tmp_path: Path) -> None:
    door("train.py", *SHORT, "hydra.run.dir=whole")
    door("train.py", *SHORT, "trainer.max_epochs=2", "hydra.run.dir=first")
    moved = (tmp_path / "first").rename(tmp_path / "a place of its own")
    before = (moved / "metrics.json").read_text()

    # Not by mistake, not as another run.
    for given, message in (((), "max_epochs"), (("trainer.max_epochs=3", "optimizer.lr=0.3"), "optimizer.lr")):
        told = door("train.py", f"resume={moved}", *given, expect=2).stderr
        assert message in told
        assert told.count("error: ") == 1
        assert (moved / "metrics.json").read_text() == before

    door("train.py", f"resume={moved.name}", "trainer.max_epochs=3", "trainer.log_every_n_steps=5")
    assert_same(moved, tmp_path / "whole")
    assert not (tmp_path / "first").exists()


def test_a_run_that_lacked_only_its_test_is_finished(door: Door, tmp_path: Path) -> None:
    door("train.py", *SHORT, "hydra.run.dir=run")
    whole = metrics(tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    door("train.py", "resume=run")
    assert metrics(tmp_path / "run") == whole
