"""Runs of several processes, started by the program itself or by torchrun."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, Door, Start
from PIL import Image
from refused import kaggle
from run_files import metrics, run_json
from sweep_runs import assert_same

SHORT = ("trainer.max_epochs=3", "data.batch_size=500")
# A brake, found in this folder, that holds for as long as a file is there.
BRAKE = {"PYTHONPATH": str(ROOT / "tests")}
BRAKED = ("+callbacks.brake._target_=brake.Brake", "+callbacks.brake.file=${folder}/brake")


def test_two_processes_come_to_what_one_comes_to(door: Door, tmp_path: Path) -> None:
    # In float32: bfloat16 rounds the two halves of a batch otherwise than the whole. The strategy as an object.
    # A third of the images for validation, in batches that divide neither it nor the test's.
    settings = (*SHORT, "trainer.precision=32-true", "data.val_fraction=0.3333", "data.eval_batch_size=370")
    gloo = "trainer.strategy={_target_: pytorch_lightning.strategies.DDPStrategy, process_group_backend: gloo}"
    door("train.py", *settings, "hydra.run.dir=one")
    done = door("train.py", *settings, "trainer=ddp_cpu", gloo, "hydra.run.dir=two")
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert two[name] == pytest.approx(value, abs=1e-3), name
    for name, count in (("val/acc", 3330), ("test/acc", 2000)):
        assert two[name] * count == pytest.approx(round(two[name] * count), abs=1e-3), "each image counts once"
    run = run_json(tmp_path / "two")
    assert (run["command"], run["outcome"], run["processes"]) == (shlex.join(done.args), "finished", 2)
    assert done.stderr.count("epoch 1/3") == 1, "one process speaks"
    assert not (tmp_path / "logs").exists(), "no second folder"
    # A run of two processes is evaluated by as many, or by one.
    tested = door("evaluate.py", "run=two").stdout
    assert f"{two['test/loss']:.4f}    {two['test/acc']:.4f}" in tested
    assert door("evaluate.py", "run=two", "trainer=cpu", "trainer.precision=32-true").stdout == tested


def test_a_mistake_in_every_process_is_told_once(door: Door, tmp_path: Path) -> None:
    done = door("train.py", "trainer=ddp_cpu", "model=lenet", "data.resize=4", "hydra.run.dir=run", expect=2)
    assert done.stderr.count("LeNet cannot take images of 1x4x4") == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert run_json(tmp_path / "run")["outcome"] == "failed"


def test_one_signal_stops_both_which_go_on_later(door: Door, start: Start, tmp_path: Path) -> None:
    options = ("trainer=ddp_cpu", "trainer.max_epochs=6", "model.dropout=0.3", "data.batch_size=100")
    door("train.py", *options, "hydra.run.dir=whole")
    folder = tmp_path / "stopped"
    folder.mkdir()
    (folder / "brake").touch()
    process = start(*options, *BRAKED, f"hydra.run.dir={folder}", **BRAKE)
    process.wait_for(folder / "metrics.csv", lines=3)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=300) == 128 + signal.SIGTERM, process.communicate()[0]
    assert run_json(folder)["outcome"] == "interrupted"
    (folder / "brake").unlink()
    door("train.py", f"resume={folder}", "trust=[brake.]", **BRAKE)
    assert_same(folder, tmp_path / "whole")


def test_no_process_outlives_the_one_that_started_it(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start("trainer=ddp_cpu", "trainer.max_epochs=100000", f"hydra.run.dir={folder}")
    process.wait_for(folder / "metrics.csv")
    ranks = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(ranks) == 2
    process.kill()
    deadline = time.monotonic() + 60
    while (left := [pid for pid in ranks if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left


def is_alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def torchrun(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(ROOT / "scripts" / script), *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_torchrun_starts_training_evaluation_and_prediction(door: Door, tmp_path: Path) -> None:
    for name, content in kaggle().items():
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(content)
    given = ("data=kaggle_cifar10", "data.dir=data", "data.augment=none", "data.batch_size=8", "trainer=ddp_cpu")
    done = torchrun(tmp_path, "train.py", *given, "trainer.max_epochs=2", "hydra.run.dir=run")
    assert done.stderr.count("epoch 1/2") == 1, "one process speaks"
    assert done.stdout.count("run folder") == 1
    run = run_json(tmp_path / "run")
    assert (run["outcome"], run["processes"]) == ("finished", 2)
    door("train.py", *given, "trainer.max_epochs=2", "hydra.run.dir=own")
    assert_same(tmp_path / "run", tmp_path / "own")

    torchrun(tmp_path, "predict.py", "run=run", "probabilities=true")
    together = (tmp_path / "run" / "submission.csv").read_text()
    assert together.count("\n") == 5
    door("predict.py", "run=run", "trainer=cpu")
    assert (tmp_path / "run" / "submission.csv").read_text() == together
    Image.new("RGB", (40, 32)).save(tmp_path / "one.png")
    done = torchrun(tmp_path, "predict.py", "run=run", "images=one.png")
    assert done.stdout.count("1 pictures") == 1

    door("train.py", "debug=fast", "trainer=ddp_cpu", "hydra.run.dir=mini")
    done = torchrun(tmp_path, "evaluate.py", "run=mini")
    assert done.stdout == door("evaluate.py", "run=mini").stdout
