"""What a killed process leaves in a run folder."""

from pathlib import Path

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
