"""Sweeps of scripts/train.py as a user runs them."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import Door, Doors
from loaded import telling_of_torch
from run_files import metrics, run_json
from sweep_runs import TINY, assert_same, jobs, snapshot

# A network of the user's own that fails in its first step until the file "mended" appears in the working directory.
MINE = """
import pathlib
import torch

class Net(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.linear = torch.nn.Linear(784, 10)
        self.fails = kind == "bad"

    def forward(self, images):
        if self.fails and len(images) > 1 and not pathlib.Path("mended").exists():
            raise RuntimeError("the loss has gone\\nfor good")
        return self.linear(images.flatten(1))
"""
OWN_NET = ("model=torchvision", "~model.net", "+model.net._target_=mine.Net")
KINDS = "+model.net.kind=good,bad,other"


# The one that begins joblib's processes then has no need of torch, which each of them loads.
LAUNCHERS = {"basic": ["hydra/launcher=basic"], "joblib": ["hydra/launcher=joblib", "sweep.preflight=false"]}


# --- failures ---


@pytest.mark.parametrize("launcher", list(LAUNCHERS))
@pytest.mark.counted
def test_a_failing_job_leaves_the_others_alone_and_is_run_again_alone(
    door: Door, root: Path, tmp_path: Path, launcher: str
) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    env = {"PYTHONPATH": str(tmp_path)}
    given = (*OWN_NET, KINDS, *TINY, *LAUNCHERS[launcher])
    done = door("train.py", "-m", *given, "hydra.sweep.dir=sweep", expect=1, **env)
    sweep = tmp_path / "sweep"
    assert jobs(sweep) == {"0", "1", "2"}
    assert [run_json(sweep / job)["outcome"] for job in "012"] == ["finished", "failed", "finished"]
    typed = shlex.join([str(root / "scripts" / "train.py"), "-m", *given, "hydra.sweep.dir=sweep"])
    assert {run_json(sweep / job)["command"] for job in "012"} == {typed}
    assert run_json(sweep / "1")["error"].splitlines()[0] == "RuntimeError: the loss has gone"
    assert 'raise RuntimeError("the loss has gone' in (sweep / "1" / "error.txt").read_text()
    summary = done.stderr[done.stderr.index("2 of 3 jobs finished") :]
    assert "sweep/1  +model.net.kind=bad\n" in summary
    assert "RuntimeError: the loss has gone\n" in summary
    assert "go on with: uv run scripts/train.py -m sweep.resume=sweep\n" in summary
    assert "Traceback" not in done.stderr

    # The same arguments again, in another order and with one more: what is finished is not touched.
    before = snapshot(sweep / "0") | snapshot(sweep / "2")
    (tmp_path / "mended").touch()
    more = [a if a != KINDS else "+model.net.kind=new,bad,other,good" for a in given]
    done = door("train.py", "-m", *more, "sweep.resume=sweep", **env)
    assert "sweep of 4 jobs (2 finished before, 1 to go on with, 1 to begin)" in done.stdout
    assert "4 of 4 jobs finished" in done.stdout
    assert snapshot(sweep / "0") | snapshot(sweep / "2") == before
    assert jobs(sweep) == {"0", "1", "2", "3"}
    assert "kind: new" in (sweep / "3" / ".hydra" / "config.yaml").read_text()
    assert run_json(sweep / "1")["outcome"] == "finished"
    assert run_json(sweep / "1")["command"].endswith(shlex.join([*more, "sweep.resume=sweep"])), "nothing is added"
    assert not (sweep / "1" / "error.txt").exists()
    assert_same(sweep / "1", sweep / "2")


def test_on_error_stop_begins_no_further_job(door: Door, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    given = (*OWN_NET, KINDS, *TINY, "sweep.on_error=stop", "hydra.sweep.dir=sweep")
    done = door("train.py", "-m", *given, expect=1, PYTHONPATH=str(tmp_path))
    assert jobs(tmp_path / "sweep") == {"0", "1"}
    assert "1 of 3 jobs finished" in done.stderr
    assert "sweep.on_error=stop: no job was begun after 1 had failed" in done.stderr


# --- before the first job ---


@pytest.mark.parametrize(
    ("arguments", "message", "quick"),
    [
        (["model=mlp,lenet,mpl"], "no choice 'mpl'.\nDid you mean 'mlp'?.*in the job model=mpl", True),
        (["optimizer.lr=0.1,o.2", "seed=0"], "optimizer.lr=o.2: expected float.*in the job optimizer.lr=o.2", True),
        (["seed=0,1,-1"], "seed=-1: expected 0 or more.*in the job seed=-1", True),
        (["optimizer.lr=0.1,1e-1"], "the same configuration.*optimizer.lr=0.1.*Leave one of them out", True),
        (["seed=0,1", "sweep.on_error=carry_on"], "sweep.on_error=carry_on: expected one of continue, stop", True),
        (["seed=0,1", "sweep.on_error=stop,continue"], "cannot itself be swept", True),
        (["seed=0,1", "sweep.seeds=0"], "sweep.seeds=0: expected 1 or more", True),
        (["sweep.resume=nowhere"], "there is no folder nowhere", True),
        (["model.dropout=0.1,0.2,1.5"], r"must lie in \[0, 1\), got 1.5\nin the job model.dropout=1.5", False),
        (["optimizer.lr=0.1,-1"], "optimizer.*learning rate: -1\nin the job optimizer.lr=-1", False),
        (["trainer.accelerator=cpu,tpu"], "trainer.*\nin the job trainer.accelerator=tpu", False),
    ],
)
def test_what_is_wrong_with_the_last_point_is_said_before_the_first_job(
    door: Door, tmp_path: Path, arguments: list[str], message: str, quick: bool
) -> None:
    done = door("train.py", "-m", *arguments, *TINY, expect=2, **(telling_of_torch(tmp_path) if quick else {}))
    if quick:
        assert done.stderr.endswith("torch loaded: False\n")
    assert re.search(message, done.stderr, re.DOTALL), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    assert not (tmp_path / "logs").exists(), "not even a folder"


def test_sweep_resume_without_multirun_says_what_is_missing(door: Door) -> None:
    assert "add -m" in door("train.py", "sweep.resume=x", expect=2).stderr


def test_processes_on_several_machines_do_not_run_a_sweep_each(door: Door, tmp_path: Path) -> None:
    done = door("train.py", "-m", "seed=0,1", expect=2, LOCAL_RANK="1", RANK="1", WORLD_SIZE="2")
    assert "start it once" in done.stderr
    assert not (tmp_path / "logs").exists()


def test_torchrun_makes_one_sweep_and_each_job_is_trained_once(door: Door, tmp_path: Path, root: Path) -> None:
    settings = ("trainer=ddp_cpu", "trainer.max_epochs=2", "trainer.limit_train_batches=4")
    command = [
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--master-port=0",
        str(root / "scripts" / "train.py"),
    ]
    done = subprocess.run(
        [sys.executable, *command, "-m", "optimizer.lr=0.1,0.2", *settings, "hydra.sweep.dir=sweep"],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "HYDRA_FULL_ERROR"} | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sweep"], "one folder"
    for job in (tmp_path / "sweep" / "0", tmp_path / "sweep" / "1"):
        assert (job / "train.log").read_text().count("epoch 2/2") == 1
        assert "2 x CPU" in (job / "train.log").read_text()
    door("train.py", "optimizer.lr=0.2", *settings, "hydra.run.dir=alone")
    assert metrics(tmp_path / "sweep" / "1") == metrics(tmp_path / "alone")


def test_a_launcher_that_is_not_installed_is_named_with_the_remedy(door: Door, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.startswith('hydra_plugins'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    done = door("train.py", "-m", "seed=0,1", "hydra/launcher=joblib", expect=2, PYTHONPATH=str(tmp_path))
    assert "hydra/launcher=joblib is not installed: uv run --extra joblib scripts/train.py" in done.stderr


# --- several processes a job ---


@pytest.fixture(scope="module")
def singles(tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Path:
    """The points of MIXED, each run by a process of its own."""
    folder = tmp_path_factory.mktemp("singles")
    for deterministic, trainer in POINTS:
        given = [a for a in MIXED if "," not in a and a != "-m"]
        given += [f"trainer.deterministic={deterministic}", f"trainer={trainer}"]
        doors(folder)("train.py", *given, f"hydra.run.dir={deterministic}_{trainer}")
    return folder


MIXED = (
    "-m",
    "trainer.deterministic=true,false",
    "trainer=ddp_cpu,cpu",
    "model.dropout=0.3",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=3",
    "data.eval_batch_size=300",
    "logger=none",
)
POINTS: Sequence[tuple[str, str]] = [("true", "ddp_cpu"), ("true", "cpu"), ("false", "ddp_cpu"), ("false", "cpu")]


@pytest.mark.parametrize("launcher", list(LAUNCHERS))
def test_jobs_of_one_and_several_processes_come_to_what_single_runs_come_to(
    door: Door, tmp_path: Path, singles: Path, launcher: str
) -> None:
    done = door("train.py", *MIXED, *LAUNCHERS[launcher])
    (sweep,) = (tmp_path / "logs" / "sweeps" / "mlp_fashion_mnist_mini").iterdir()
    assert jobs(sweep) == {"0", "1", "2", "3"}
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["sweeps"]
    for number, (deterministic, trainer) in enumerate(POINTS):
        assert_same(sweep / str(number), singles / f"{deterministic}_{trainer}")
        log = (sweep / str(number) / "train.log").read_text()
        assert log.count("epoch 1/2") == 1, "trained once"
        assert f"{2 if trainer == 'ddp_cpu' else 1} x CPU" in log
    assert done.stderr.count("epoch 1/2") == 4
