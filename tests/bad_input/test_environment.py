"""Data files that are damaged, missing or oddly named; full and read-only disks; a closed output."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Door, Refused, contents
from made_up import TEST, archive, write
from run_files import run_json

QUICK = ("logger=none", "test=false", "debug=fast", "model.hidden_sizes=[64]")
SMALL = f"{' '.join(QUICK)} data.batch_size=8"
FASHION = f"train.py data=fashion_mnist data.dir=data data.system_dir=null data.download=false {SMALL}"
KAGGLE = f"train.py data=kaggle_cifar10 data.dir=data data.augment=none {SMALL}"
IMAGES = "train-images-idx3-ubyte"
ODD = "my data, ü & 数据"
Disk = Callable[[int], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of its own of so many KiB."""
    folder = tmp_path / "disk"

    def make(size: int) -> Path:
        folder.mkdir()
        options = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(options, capture_output=True).returncode != 0:
            pytest.skip("only an administrator can mount a small disk")
        return folder

    yield make
    if folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_takes_no_checkpoint_and_no_submission_away(door: Door, disk: Disk, tmp_path: Path) -> None:
    write(tmp_path / "data")
    run = disk(4000) / "run"
    door(*KAGGLE.split(), f"hydra.run.dir={run}")
    door("predict.py", f"run={run}")
    before = {file: file.read_bytes() for file in (*run.glob("checkpoints/*"), run / "submission.csv")}
    filler = run.parent / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    for command in (f"predict.py run={run} checkpoint=last", f"train.py resume={run} trainer.max_epochs=3"):
        told = door(*command.split(), expect=2).stderr
        assert re.search("^error: .*No space left on device.*make room", told, re.M)
        assert {file: file.read_bytes() for file in before} == before
        assert not list(run.rglob("*.tmp"))
    filler.unlink()
    door("train.py", f"resume={run}", "trainer.max_epochs=3")


@pytest.mark.slow
def test_a_read_only_run_folder_can_be_tested_but_nothing_else(door: Door, refused: Refused, disk: Disk) -> None:
    run = disk(3000) / "run"
    door("train.py", *QUICK, f"hydra.run.dir={run}")
    subprocess.run(["mount", "-o", "remount,ro", str(run.parent)], check=True)
    before = contents(run)
    door("evaluate.py", f"run={run}")
    for command in (f"resume={run} trainer.max_epochs=3", f"{shlex.join(QUICK)} hydra.run.dir={run.parent}/other"):
        refused(f"train.py {command}", "Read-only file system", str(run.parent))
    assert contents(run) == before


@pytest.mark.slow
def test_nobody_reads_the_output(tmp_path: Path) -> None:
    train = shlex.join([sys.executable, f"{ROOT}/scripts/train.py", *QUICK])
    for given in (
        "hydra.run.dir=run > /dev/full",
        "-m hydra.sweep.dir=sweep sweep.preflight=false 2>&1 | true",  # as ``| head -1``
    ):
        command = ["bash", "-c", f"{train} {given}; exit ${{PIPESTATUS[0]}}"]
        assert subprocess.run(command, cwd=tmp_path, timeout=300).returncode == 0, given
    for run in ("run", "sweep/0"):
        assert run_json(tmp_path / run)["outcome"] == "finished"


def test_files_that_are_none_and_data_that_are_not_there(refused: Refused, tmp_path: Path) -> None:
    refused(FASHION, "data", "data.dir")
    refused(KAGGLE, "data lacks train", "demo=true")
    (tmp_path / "data").mkdir()
    for name in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / "data" / name).write_bytes(b"")
    refused(FASHION, IMAGES)  # the last one is missing
    os.mkfifo(tmp_path / "data" / IMAGES)
    refused(FASHION, IMAGES)


def test_folders_and_files_with_odd_names_that_may_only_be_read(door: Door, tmp_path: Path) -> None:
    (tmp_path / ODD).mkdir()
    (tmp_path / ODD / "ü 1.zip").write_bytes(archive())
    door("prepare_kaggle.py", f"archive={ODD}/ü 1.zip", f"dir={ODD}", "tree=true")
    for path in (tmp_path / ODD).rglob("*"):
        path.chmod(0o555)
    given = shlex.split(KAGGLE.replace("data.dir=data ", f"data.dir={shlex.quote(ODD)} "))
    door(*given, f"hydra.run.dir=runs, ü/{ODD}")
    door("predict.py", f"run=runs, ü/{ODD}")
    assert (tmp_path / "runs, ü" / ODD / "submission.csv").read_text().count("\n") == TEST + 1
