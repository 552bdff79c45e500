"""Full and read-only disks, limits, a closed output."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import ROOT, Door, Refused, contents
from made_up import write
from run_files import run_json

from imgclf.errors import tell

QUICK = ("logger=none", "test=false", "debug=fast", "model.hidden_sizes=[64]")
Disk = Callable[[int], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of its own of so many KiB."""
    made: list[Path] = []

    def make(size: int) -> Path:
        folder = tmp_path / f"disk{len(made)}"
        folder.mkdir()
        options = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(options, capture_output=True).returncode != 0:
            folder.rmdir()
            pytest.skip("only an administrator can mount a small disk")
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that leaves no room."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return folder / "filler"


def test_a_full_disk_takes_no_checkpoint_and_no_submission_away(door: Door, disk: Disk, tmp_path: Path) -> None:
    write(tmp_path / "data")
    run = disk(4000) / "run"
    data = ("data=kaggle_cifar10", "data.dir=data", "data.augment=none", "data.batch_size=8")
    door("train.py", *data, *QUICK, f"hydra.run.dir={run}")
    door("predict.py", f"run={run}")
    before = {file: file.read_bytes() for file in (*run.glob("checkpoints/*"), run / "submission.csv")}
    assert len(before) == 3
    filler = fill(run.parent)
    for command in (f"predict.py run={run} checkpoint=last", f"train.py resume={run} trainer.max_epochs=3"):
        told = door(*command.split(), expect=2).stderr
        assert "No space left on device" in told
        assert "make room" in told
        assert "Traceback" not in told
        assert {file: file.read_bytes() for file in before} == before
        assert not list(run.rglob("*.tmp"))
    filler.unlink()
    door("train.py", f"resume={run}", "trainer.max_epochs=3")


def test_a_disk_too_small_for_a_checkpoint_or_decoded_images(door: Door, disk: Disk, tmp_path: Path) -> None:
    write(tmp_path / "data")
    small = disk(150)
    for given in ((), ("data=kaggle_cifar10", "data.dir=data", f"data.cache_dir={small}/x", "data.batch_size=8")):
        told = door("train.py", *given, *QUICK, f"hydra.run.dir={small}/run", expect=2).stderr
        assert "make room" in told
        assert "Traceback" not in told
        assert not [*small.rglob("*.ckpt"), *small.rglob("*.npy")]


def test_a_read_only_run_folder_can_be_tested_but_nothing_else(door: Door, refused: Refused, disk: Disk) -> None:
    run = disk(3000) / "run"
    door("train.py", *QUICK, f"hydra.run.dir={run}")
    subprocess.run(["mount", "-o", "remount,ro", str(run.parent)], check=True)
    before = contents(run)
    door("evaluate.py", f"run={run}")
    for command in (
        f"train.py resume={run} trainer.max_epochs=3",
        f"train.py {shlex.join(QUICK)} hydra.run.dir={run.parent}/other",
        f"figures.py figure=activations hydra.run.dir={run.parent}/figures",
    ):
        refused(command, "Read-only file system", str(run.parent))
    assert contents(run) == before


def in_bash(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    train = shlex.join([sys.executable, f"{ROOT}/scripts/train.py", *QUICK, "hydra.run.dir=run"])
    command = ["bash", "-c", script.format(train=train)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_files_may_not_grow_as_large_as_a_checkpoint(tmp_path: Path) -> None:
    done = in_bash("ulimit -f 100; {train}", tmp_path)
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 1, done.stderr
    assert "File too large" in told[0]
    assert not list(tmp_path.rglob("*.ckpt"))


def test_nobody_reading_the_output_changes_nothing(tmp_path: Path) -> None:
    """As in ``scripts/train.py ... | head -1``, where also errors may go to."""
    done = in_bash("{train} 2>&1 | true; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert run_json(tmp_path / "run")["outcome"] == "finished"


def test_too_little_memory_on_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nGPU 0 has ...")) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: out of memory (CUDA out of memory. Tried to allocate 20 GiB.)")
    assert "data.batch_size" in told
