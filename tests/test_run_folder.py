"""What a killed process leaves in a run folder, and who has it."""

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


def test_one_at_a_time(tmp_path: Path) -> None:
    folder, other = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    with folder.lock():
        with pytest.raises(InputError, match="going on"), other.lock(seconds=0.1):
            pass
        assert not folder.has_begun
    with other.lock(seconds=0.1):
        pass


def test_what_is_no_number_is_null_and_a_damaged_file_is_named(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.read_metrics() is None
    folder.write_metrics({"val/loss": float("nan"), "epochs": 2})
    assert folder.read_metrics() == {"val/loss": None, "epochs": 2}
    assert folder.has_begun
    folder.run_file.write_text('{"seed": ')
    with pytest.raises(InputError, match=r"run\.json is damaged"):
        folder.read_run()
    folder.table_file.write_text("epoch,val/loss\nx,1\n")
    with pytest.raises(InputError, match=r"metrics\.csv is damaged"):
        folder.read_table()
