"""What a killed process leaves in a run folder."""

from pathlib import Path

import pytest

from imgclf.errors import InputError
from imgclf.run_folder import RunFolder


def test_a_first_checkpoint_killed_between_its_two_renamings_is_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    folder.best.write_text("epoch 1")
    aside = folder.checkpoints / ".last.tmp"
    aside.hardlink_to(folder.best)
    folder.tidy()
    assert folder.last.read_text() == "epoch 1"
    folder.last.write_text("epoch 2")
    assert folder.best.read_text() == "epoch 1", "and they share nothing"
    assert sorted(p.name for p in folder.checkpoints.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_half_files_are_removed_and_whole_ones_stay(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_run(seed=1)
    folder.checkpoints.mkdir()
    folder.last.write_text("epoch 2")
    for half in (folder.checkpoints / ".last.tmp", tmp_path / ".metrics.csv.123.tmp", tmp_path / ".hydra" / ".x.1.tmp"):
        half.parent.mkdir(exist_ok=True)
        half.write_text("ha")
    folder.tidy()
    assert folder.last.read_text() == "epoch 2"
    assert not list(tmp_path.rglob("*.tmp"))
    assert folder.read_run() == {"seed": 1}


def test_a_stop_that_the_run_could_not_note_is_noted_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert not folder.note_stop("stopped by SIGTERM"), "nothing has begun here"
    assert not list(tmp_path.iterdir())
    folder.claim()
    assert folder.note_stop("stopped by SIGTERM")
    assert folder.read_run().items() >= {"outcome": "interrupted", "error": "stopped by SIGTERM"}.items()
    assert not folder.note_stop("stopped by SIGINT")
    assert folder.read_run()["error"] == "stopped by SIGTERM"


@pytest.mark.parametrize(("before", "after"), [("running", "finished"), ("diverged", "diverged")])
def test_a_stop_after_the_results_were_written_interrupts_nothing(tmp_path: Path, before: str, after: str) -> None:
    folder = RunFolder(tmp_path)
    folder.write_run(outcome=before)
    folder.write_metrics({"test/acc": 0.9})
    folder.note_stop("stopped by SIGTERM")
    assert folder.read_run()["outcome"] == after
    assert "error" not in folder.read_run()


def test_a_run_killed_as_it_took_its_folder_has_not_begun(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.run_file.touch()
    assert folder.read_run() == {}
    folder.table_file.write_text("epoch\n")
    with pytest.raises(InputError, match=r"run\.json is damaged"):
        folder.read_run()
