"""Full and read-only disks, no home folder, a read-only checkout, a closed output, a port that is taken."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from refused import contents, run_here

from imgclf.errors import tell
from imgclf.log import log_to

QUICK = "logger=none test=false debug=fast model.hidden_sizes=[64]"
Disk = Callable[[int], Path]


@pytest.fixture
def disk(here: Path) -> Iterator[Disk]:
    """A file system of its own of so many KiB."""
    made: list[Path] = []

    def make(size: int) -> Path:
        folder = here / f"disk{len(made)}"
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
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def read_only(folder: Path) -> None:
    log_to(None)  # no run of this process has its train.log open there any more
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def refused(command: str) -> str:
    answer = run_here(command)
    assert answer.code == 2, answer.out + answer.err
    assert "Traceback" not in answer.err, answer.err
    assert answer.err.count("error: ") == 1, answer.err
    return answer.err


def test_a_disk_that_becomes_full_takes_no_checkpoint_away(here: Path, disk: Disk) -> None:
    run = disk(2000) / "run"
    assert run_here(f"train.py {QUICK} hydra.run.dir={run}").code == 0
    before = {name: (run / "checkpoints" / f"{name}.ckpt").read_bytes() for name in ("best", "last")}
    filler = fill(run.parent)
    told = refused(f"train.py resume={run} trainer.max_epochs=3")
    assert "No space left on device" in told
    assert "make room" in told
    assert {name: (run / "checkpoints" / f"{name}.ckpt").read_bytes() for name in before} == before
    assert not list(run.rglob("*.tmp"))
    filler.unlink()
    answer = run_here(f"train.py resume={run} trainer.max_epochs=3")
    assert answer.code == 0, answer.err


def test_a_disk_too_small_for_a_checkpoint(here: Path, disk: Disk) -> None:
    run = disk(150) / "run"
    told = refused(f"train.py {QUICK} hydra.run.dir={run}")
    assert "No space left on device" in told
    assert not list(run.rglob("*.ckpt"))


def test_files_may_not_grow_as_large_as_a_checkpoint(here: Path) -> None:
    limited = f"ulimit -f 100; exec {sys.executable} {ROOT}/scripts/train.py {QUICK} hydra.run.dir=run"
    done = subprocess.run(["bash", "-c", limited], cwd=here, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    assert not list(here.rglob("*.ckpt"))


def test_a_disk_too_small_for_decoded_images(here: Path, disk: Disk, competition: Path) -> None:
    folder = disk(64)
    told = refused(f"train.py data=kaggle_cifar10 data.dir=data data.cache_dir={folder}/x data.batch_size=8 {QUICK}")
    assert "MiB free; make room or choose another folder" in told
    assert not list(folder.rglob("*.npy"))


def test_a_full_disk_takes_no_submission_away(here: Path, disk: Disk, competition: Path) -> None:
    run = disk(4000) / "run"
    data = "data=kaggle_cifar10 data.dir=data data.augment=none data.batch_size=8"
    assert run_here(f"train.py {data} {QUICK} hydra.run.dir={run}").code == 0
    assert run_here(f"predict.py run={run}").code == 0
    before = (run / "submission.csv").read_bytes()
    fill(run.parent)
    told = refused(f"predict.py run={run} checkpoint=last")
    assert "No space left on device; make room, or choose another folder" in told
    assert (run / "submission.csv").read_bytes() == before
    assert not list(run.glob(".*.tmp"))


def test_a_read_only_run_folder_can_be_tested_but_nothing_else(here: Path, disk: Disk) -> None:
    run = disk(3000) / "run"
    assert run_here(f"train.py {QUICK} hydra.run.dir={run}").code == 0
    read_only(run.parent)
    before = contents(run)
    assert run_here(f"evaluate.py run={run}").code == 0
    assert "cannot be written (Read-only file system)" in refused(f"train.py resume={run} trainer.max_epochs=3")
    for command in (
        f"train.py {QUICK} hydra.run.dir={run.parent}/other",
        f"figures.py figure=activations hydra.run.dir={run.parent}/figures",
    ):
        assert "Read-only file system" in refused(command)
    assert contents(run) == before


def test_a_read_only_checkout_without_home_or_terminal(here: Path, disk: Disk) -> None:
    checkout = disk(40_000)
    for part in ("src", "conf", "scripts"):
        shutil.copytree(ROOT / part, checkout / part, ignore=shutil.ignore_patterns("__pycache__"))
    read_only(checkout)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(checkout / "scripts" / "train.py"), *QUICK.split(), "hydra.run.dir=run"]
    done = subprocess.run(
        command, cwd=here, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert (here / "run" / "metrics.json").exists()


def test_too_little_memory_on_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nGPU 0 has ...")) == 2
    told = "error: out of memory (CUDA out of memory. Tried to allocate 20 GiB.); choose a smaller data.batch_size"
    assert capsys.readouterr().err.startswith(told)


def test_processes_take_a_port_of_their_own(here: Path) -> None:
    """Two runs with processes of their own do not get in each other's way, whatever the environment says."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment = os.environ | {"MASTER_PORT": str(taken.getsockname()[1]), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, f"{ROOT}/scripts/train.py", *QUICK.split(), "trainer=ddp_cpu", "hydra.run.dir=run"]
        done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_reader_that_leaves_early(here: Path) -> None:
    """As in ``scripts/figures.py ... | head -1``: no traceback."""
    arguments = f"{ROOT}/scripts/figures.py figure=activations figure.step=0.001 hydra.run.dir=pictures"
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} {arguments} | true; exit ${{PIPESTATUS[0]}}"],
        cwd=here,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "Traceback" not in done.stderr, done.stderr
