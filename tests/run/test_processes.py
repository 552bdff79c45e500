"""Runs of several processes, started by the program itself or by torchrun; jobs that share GPUs out; threads."""

import multiprocessing
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, Door
from made_up import TEST, write
from run_files import metrics, run_json

from imgclf import threads


def test_two_processes_come_to_what_one_comes_to(door: Door, tmp_path: Path) -> None:
    # In float32: bfloat16 rounds the two halves of a batch otherwise than the whole. The strategy as an object.
    # A third of the images for validation, in batches that divide neither it nor the test's.
    settings = ("trainer.max_epochs=1", "data.batch_size=500", "callbacks=bare", "logger=none", "metrics=full")
    settings += ("trainer.precision=32-true", "data.val_fraction=0.3333", "data.eval_batch_size=370")
    gloo = "trainer.strategy={_target_: pytorch_lightning.strategies.DDPStrategy, process_group_backend: gloo}"
    door("train.py", *settings, "hydra.run.dir=one")
    done = door("train.py", *settings, "trainer=ddp_cpu", gloo, "hydra.run.dir=two")
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert two == pytest.approx(one, abs=2e-3)
    for name, count in (("val/acc", 3330), ("test/acc", 2000)):
        assert two[name] * count == pytest.approx(round(two[name] * count), abs=1e-3), "each image counts once"
    run = run_json(tmp_path / "two")
    assert (run["command"], run["outcome"], run["processes"]) == (shlex.join(done.args), "finished", 2)
    assert done.stderr.count("epoch 1/1") == 1, "one process speaks"
    assert not (tmp_path / "logs").exists(), "no second folder"
    tested = door("evaluate.py", "run=two", "trainer=ddp_cpu", "trainer.precision=32-true").stdout
    assert f"{two['test/loss']:.4f}    {two['test/acc']:.4f}" in tested


@pytest.mark.slow
def test_a_mistake_in_every_process_is_told_once(door: Door, tmp_path: Path) -> None:
    """By processes that do not take a package in the working directory for ours, either."""
    (tmp_path / "imgclf").mkdir()
    for name in ("__init__.py", "distributed.py"):
        (tmp_path / "imgclf" / name).write_text(f"open({str(tmp_path / 'harm')!r}, 'w')")
    told = door("train.py", "trainer=ddp_cpu", "model=lenet", "data.resize=4", expect=2).stderr
    assert (told.count("LeNet cannot take images of 1x4x4"), "Traceback" in told) == (1, False), told
    assert not (tmp_path / "harm").exists()


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
    given = ("data=kaggle_cifar10", "data.dir=data", "data.augment=none", "data.batch_size=8", "trainer.max_epochs=2")
    done = torchrun(tmp_path, "train.py", *given, "trainer=ddp_cpu", "trainer.precision=32-true", "hydra.run.dir=run")
    assert (done.stderr.count("epoch 1/2"), done.stdout.count("run folder")) == (1, 1), "one process speaks"
    assert (run_json(tmp_path / "run")["outcome"], run_json(tmp_path / "run")["processes"]) == ("finished", 2)
    door("train.py", *given, "trainer.precision=32-true", "hydra.run.dir=one")
    assert metrics(tmp_path / "run") == pytest.approx(metrics(tmp_path / "one"), rel=1e-4)

    done = torchrun(tmp_path, "predict.py", "run=run", "probabilities=true")
    assert done.stdout.count(f"{TEST} images classified") == 1
    assert (tmp_path / "run" / "submission.csv").read_text().count("\n") == TEST + 1


def job_on_gpus(folder: Path, begun: Any, go: Any) -> None:
    """A job on a machine with two GPUs, as far as it is told; where its process would begin, it waits."""
    import imgclf.distributed
    from imgclf.job import run_job

    def processes(*_: Any, **__: Any) -> None:
        begun.put(os.environ["CUDA_VISIBLE_DEVICES"])
        go.wait(60)
        (folder / "metrics.json").write_text('{"best/val/acc": 0.5}')

    torch.cuda.device_count = lambda: 2
    imgclf.distributed.run = processes
    given = ["trainer=gpu", f"hydra.run.dir={folder}", f"hydra.sweep.dir={folder.parent}", "hydra.job.num=0"]
    begun.put(run_job(imgclf.compose(given)))


@pytest.mark.slow
def test_jobs_at_the_same_time_take_different_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the locks are
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    context = multiprocessing.get_context("fork")
    begun, go = context.Queue(), context.Event()
    processes = [context.Process(target=job_on_gpus, args=(tmp_path / name, begun, go)) for name in "abc"]
    for process in processes:
        process.start()
    assert {begun.get(timeout=60), begun.get(timeout=60)} == {"3", "5"}
    time.sleep(1.5)
    assert begun.empty(), "the third waits"
    go.set()
    rest = [begun.get(timeout=60) for _ in range(4)]
    for process in processes:
        process.join(60)
    assert sorted(map(str, rest))[:3] == ["0.5"] * 3
    assert rest[[isinstance(item, str) for item in rest].index(True)] in ("3", "5")


@pytest.fixture
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.setenv(name, "")  # so that what a test leaves behind is undone
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("_nothing_set")
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the machine's load is not looked at")
@pytest.mark.parametrize(
    ("others", "idle_cores", "short"),
    [
        ((0, 4, 0, 4, 0), 0, False),  # for a moment only
        ((1, 1, 0, 1, 1), 0, True),
        ((4, 4, 4, 4, 4), 4, False),  # on cores that this process does not use
    ],
)
def test_threads_wait_shortly_where_others_want_the_cores(
    others: tuple[int, ...], idle_cores: int, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(others)
    monkeypatch.setattr(os, "cpu_count", lambda: len(os.sched_getaffinity(0)) + idle_cores)
    threads.choose_spin(lambda: 1 + next(looks))
    assert os.environ["GOMP_SPINCOUNT"] == (threads.SHORT_SPIN if short else threads.LONG_SPIN)
    assert "OMP_NUM_THREADS" not in os.environ, "which would change the numbers"


@pytest.mark.usefixtures("_nothing_set")
@pytest.mark.parametrize(("then", "number"), [(2, "2"), (5, None), (None, None)])
def test_a_run_keeps_its_number_of_threads(then: object, number: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    threads.keep_number({"threads": then})
    assert os.environ.get("OMP_NUM_THREADS") == number
