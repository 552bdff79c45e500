"""The tree of links is what ImageFolder expects, and is made once."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from torchvision.datasets import ImageFolder

from imgclf.errors import InputError
from imgclf.images.prepare import prepare_kaggle
from imgclf.images.tree import make_tree


@pytest.fixture
def prepared(tmp_path, competition):
    def make(**counts: int) -> Path:
        return prepare_kaggle(competition(**counts), tmp_path / "data").folder

    return make


def test_image_folder_reads_it(prepared):
    folder = prepared(train=50, test=7)
    tree = make_tree(folder, 0.2, 0)
    parts = {part: ImageFolder(tree / part) for part in ("train", "valid", "train_valid", "test")}
    assert {part: len(images) for part, images in parts.items()} == {
        "train": 40, "valid": 10, "train_valid": 50, "test": 7,
    }  # fmt: skip
    assert parts["train"].classes == parts["valid"].classes == sorted(parts["train"].classes)
    assert parts["test"].classes == ["unknown"]
    names = {part: {Path(path).name for path, _ in images.samples} for part, images in parts.items()}
    assert not names["train"] & names["valid"]
    assert names["train"] | names["valid"] == names["train_valid"]
    assert (tree / "train_valid" / "automobile" / "1.png").samefile(folder / "train" / "1.png")  # takes no room
    assert [label for _, label in parts["valid"].samples] == list(range(10))


def test_a_second_time_nothing_is_done_and_another_seed_makes_another(prepared, caplog):
    folder = prepared(train=50)
    tree = make_tree(folder, 0.1, 0)
    inode, valid = tree.stat().st_ino, sorted(path.name for path in (tree / "valid").rglob("*.png"))
    assert make_tree(folder, 0.1, 0).stat().st_ino == inode
    with caplog.at_level(logging.INFO, "imgclf"):
        make_tree(folder, 0.1, 1)
    assert "differs: seed" in caplog.text
    assert sorted(path.name for path in (tree / "valid").rglob("*.png")) != valid
    make_tree(folder, 0.1, 0)
    assert sorted(path.name for path in (tree / "valid").rglob("*.png")) == valid


def test_a_tree_that_lost_a_file_is_made_again(prepared):
    folder = prepared()
    tree = make_tree(folder, 0.1, 0)
    lost = next((tree / "train").rglob("*.png"))
    lost.unlink()
    make_tree(folder, 0.1, 0)
    assert lost.exists()


def test_a_killed_run_leaves_no_tree_and_is_completed(prepared):
    folder = prepared(train=2000)
    code = "import sys; from pathlib import Path; from imgclf.images.tree import make_tree as m; "
    process = subprocess.Popen([sys.executable, "-c", code + "m(Path(sys.argv[1]), 0.1, 0)", folder])
    while not (folder / ".train_valid_test" / "train").exists():
        assert process.poll() is None
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "train_valid_test").exists()
    tree = make_tree(folder, 0.1, 0)
    assert len(list(tree.glob("train_valid/*/*.png"))) == 2000
    assert not (folder / ".train_valid_test").exists()


def test_a_folder_of_that_name_that_is_not_ours_is_left_alone(prepared):
    folder = prepared()
    (folder / "train_valid_test").mkdir()
    (folder / "train_valid_test" / "precious").touch()
    with pytest.raises(InputError, match="was not made by this program"):
        make_tree(folder, 0.1, 0)
    assert (folder / "train_valid_test" / "precious").exists()


def test_where_links_are_impossible_it_says_so_and_copies_only_when_told(prepared):
    folder = prepared()
    if not Path("/dev/shm").is_dir() or Path("/dev/shm").stat().st_dev == folder.stat().st_dev:
        pytest.skip("there is no second file system at /dev/shm to link across")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        shutil.move(folder / "train", elsewhere)
        (folder / "train").symlink_to(Path(elsewhere, "train"))
        with pytest.raises(InputError, match=r"cannot be linked .*copy=true"):
            make_tree(folder, 0.1, 0)
        assert not (folder / "train_valid_test").exists()
        tree = make_tree(folder, 0.1, 0, copy=True)
        assert len(list(tree.glob("train_valid/*/*.png"))) == 20


def test_an_unprepared_folder_and_a_wrong_ratio_are_refused(tmp_path, prepared):
    with pytest.raises(InputError, match="kaggle competitions download"):
        make_tree(tmp_path, 0.1, 0)
    folder = prepared()
    with pytest.raises(InputError, match="valid_ratio"):
        make_tree(folder, 1.0, 0)
    assert not (folder / "train_valid_test").exists()
