"""What a killed process leaves in a run folder."""

from pathlib import Path

import pytest

from imgclf.errors import InputError
from imgclf.run_folder import RunFolder


def test_a_first_checkpoint_killed_between_its_two_renamings_is_whole(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    folder.best.write_text("epoch 1")
    (folder.checkpoints / ".last.tmp").hardlink_to(folder.best)
    folder.tidy()
    folder.last.write_text(f"{folder.last.read_text()} and 2")
    assert (folder.best.read_text(), folder.last.read_text()) == ("epoch 1", "epoch 1 and 2")
    assert sorted(p.name for p in folder.checkpoints.iterdir()) == ["best.ckpt", "last.ckpt"]


def test_half_files_are_removed_and_whole_ones_stay(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_run(seed=1)
    folder.checkpoints.mkdir()
    folder.last.write_text("epoch 2")
    for half in (folder.checkpoints / ".last.tmp", tmp_path / ".metrics.csv.123.tmp"):
        half.write_text("ha")
    folder.tidy()
    assert (folder.last.read_text(), folder.read_run()) == ("epoch 2", {"seed": 1})
    assert not list(tmp_path.rglob("*.tmp"))


def test_what_is_no_number_is_null_and_a_lock_is_given_back(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.read_metrics() is None
    folder.write_metrics({"val/loss": float("nan"), "epochs": 2})
    assert folder.read_metrics() == {"val/loss": None, "epochs": 2}
    with folder.lock(), pytest.raises(InputError, match="going on"), RunFolder(tmp_path).lock(seconds=0.1):
        pass
    with RunFolder(tmp_path).lock(seconds=0.1):
        pass
