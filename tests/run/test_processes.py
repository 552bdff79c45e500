"""Runs of several processes, started by the program itself or by torchrun."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, Door
from made_up import TEST, write
from own import OWN, argument, network, stopping
from PIL import Image
from run_files import assert_same, metrics, run_json, weights

SHORT = ("trainer.max_epochs=2", "data.batch_size=500", "logger=none")


def test_two_processes_come_to_what_one_comes_to(door: Door, tmp_path: Path) -> None:
    # In float32: bfloat16 rounds the two halves of a batch otherwise than the whole. The strategy as an object.
    # A third of the images for validation, in batches that divide neither it nor the test's.
    settings = (*SHORT, "trainer.precision=32-true", "data.val_fraction=0.3333", "data.eval_batch_size=370")
    gloo = "trainer.strategy={_target_: pytorch_lightning.strategies.DDPStrategy, process_group_backend: gloo}"
    door("train.py", *settings, "hydra.run.dir=one")
    done = door("train.py", *settings, "trainer=ddp_cpu", gloo, "hydra.run.dir=two")
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert two == pytest.approx(one, abs=1e-3)
    for name, count in (("val/acc", 3330), ("test/acc", 2000)):
        assert two[name] * count == pytest.approx(round(two[name] * count), abs=1e-3), "each image counts once"
    run = run_json(tmp_path / "two")
    assert (run["command"], run["outcome"], run["processes"]) == (shlex.join(done.args), "finished", 2)
    assert done.stderr.count("epoch 1/2") == 1, "one process speaks"
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


@pytest.mark.parametrize(
    ("name", "code"),
    [("SIGTERM", 128 + signal.SIGTERM), pytest.param("SIGKILL", -signal.SIGKILL, marks=pytest.mark.slow)],
)
def test_a_signal_to_the_command_stops_all_processes_which_go_on_later(
    door: Door, tmp_path: Path, name: str, code: int
) -> None:
    options = (*SHORT, "trainer=ddp_cpu", "trainer.max_epochs=3", "model.dropout=0.3")
    stop = stopping(tmp_path / "armed", name, step=25, to_parent=True)
    # Comes back only when all processes are gone: they share its output.
    door("train.py", *options, stop, "hydra.run.dir=stopped", expect=code, fresh=True, **OWN)
    assert run_json(tmp_path / "stopped")["outcome"] == ("interrupted" if name == "SIGTERM" else "running")
    assert not (tmp_path / "stopped" / "metrics.json").exists()
    door("train.py", "resume=stopped", "trust=[own.]", **OWN)
    door("train.py", *options, "hydra.run.dir=whole")
    assert_same(tmp_path / "stopped", tmp_path / "whole")


@pytest.mark.parametrize("callbacks", ["ema", pytest.param("default", marks=pytest.mark.slow)])
def test_two_processes_validate_one_network_with_its_statistics(door: Door, tmp_path: Path, callbacks: str) -> None:
    (tmp_path / "validated").mkdir()
    kept = argument("callbacks.kept", "Validated", folder=tmp_path / "validated")
    settings = (*SHORT, *network("Normed"), f"callbacks={callbacks}", kept, "trainer=ddp_cpu", "hydra.run.dir=run")
    door("train.py", *settings, **OWN)
    for epoch in (0, 1):
        a, b = (torch.load(tmp_path / "validated" / f"{rank}-{epoch}.pt", weights_only=True) for rank in (0, 1))
        assert a.keys() == b.keys() >= {"net.1.running_mean"}
        assert [name for name in a if not torch.equal(a[name], b[name])] == []
    # And it is what the checkpoint gives back.
    last = weights(tmp_path / "run")
    assert all(torch.equal(last[name], a[name]) for name in last)


def torchrun(folder: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(ROOT / "scripts" / script), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_torchrun_starts_training_and_prediction(door: Door, tmp_path: Path) -> None:
    write(tmp_path / "data")
    given = ("data=kaggle_cifar10", "data.dir=data", "data.augment=none", "data.batch_size=8", "trainer=ddp_cpu")
    done = torchrun(tmp_path, "train.py", *given, "trainer.max_epochs=2", "hydra.run.dir=run")
    assert (done.stderr.count("epoch 1/2"), done.stdout.count("run folder")) == (1, 1), "one process speaks"
    assert (run_json(tmp_path / "run")["outcome"], run_json(tmp_path / "run")["processes"]) == ("finished", 2)
    door("train.py", *given, "trainer.max_epochs=2", "hydra.run.dir=own")
    assert_same(tmp_path / "run", tmp_path / "own")

    torchrun(tmp_path, "predict.py", "run=run", "probabilities=true")
    together = (tmp_path / "run" / "submission.csv").read_text()
    assert together.count("\n") == TEST + 1
    door("predict.py", "run=run", "trainer=cpu")
    assert (tmp_path / "run" / "submission.csv").read_text() == together
    Image.new("RGB", (40, 32)).save(tmp_path / "one.png")
    assert door("predict.py", "run=run", "images=one.png").stdout.count("1 pictures") == 1
