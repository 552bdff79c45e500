"""Sweeps of scripts/train.py as a user runs them."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Door
from omegaconf import OmegaConf
from run_files import metrics, table, weights

TINY = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "logger=none")

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


def assert_same(a: Path, b: Path) -> None:
    """Bit for bit the same numbers."""
    assert metrics(a) == metrics(b)
    assert table(a) == table(b)
    one, other = weights(a), weights(b)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def run_json(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def jobs(sweep: Path) -> set[str]:
    return {path.name for path in sweep.iterdir() if path.is_dir()}


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Of each file: when it was last written, and its place on the disk, which a new file would not share."""
    return {str(p): (p.stat().st_mtime_ns, p.stat().st_ino) for p in sorted(folder.rglob("*")) if p.is_file()}


def start(root: Path, folder: Path, *arguments: str, group: bool = False) -> subprocess.Popen[str]:
    command = [sys.executable, str(root / "scripts" / "train.py"), *arguments]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=group,
    )


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists():
            return
        time.sleep(0.005)
    process.kill()
    raise AssertionError(f"no {file}: {process.communicate()[0]}")


# --- failures ---


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_a_failing_job_leaves_the_others_alone_and_is_run_again_alone(
    door: Door, tmp_path: Path, launcher: str
) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    env = {"PYTHONPATH": str(tmp_path)}
    given = (*OWN_NET, KINDS, *TINY, f"hydra/launcher={launcher}")
    done = door("train.py", "-m", *given, "hydra.sweep.dir=sweep", expect=1, **env)
    sweep = tmp_path / "sweep"
    assert jobs(sweep) == {"0", "1", "2"}
    assert [run_json(sweep / job)["outcome"] for job in "012"] == ["finished", "failed", "finished"]
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
        (["sweep.resume=nowhere"], "there is no folder nowhere", True),
        (["model.dropout=0.1,0.2,1.5"], r"must lie in \[0, 1\), got 1.5\nin the job model.dropout=1.5", False),
        (["optimizer.lr=0.1,-1"], "optimizer.*learning rate: -1\nin the job optimizer.lr=-1", False),
        (["trainer.accelerator=cpu,tpu"], "trainer.*\nin the job trainer.accelerator=tpu", False),
    ],
)
def test_what_is_wrong_with_the_last_point_is_said_before_the_first_job(
    door: Door, tmp_path: Path, arguments: list[str], message: str, quick: bool
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import atexit, sys\natexit.register(lambda: print('torch loaded:', 'torch' in sys.modules, file=sys.stderr))\n"
    )
    done = door("train.py", "-m", *arguments, *TINY, expect=2, PYTHONPATH=str(tmp_path))
    assert f"torch loaded: {not quick}" in done.stderr
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
    for number, lr in enumerate((0.1, 0.2)):
        door("train.py", f"optimizer.lr={lr}", *settings, f"hydra.run.dir=alone{number}")
        job, alone = tmp_path / "sweep" / str(number), tmp_path / f"alone{number}"
        assert metrics(job) == metrics(alone)
        assert (job / "train.log").read_text().count("epoch 2/2") == 1
        assert "2 x CPU" in (job / "train.log").read_text()


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


# --- stopping ---

SWEEP = (
    "-m",
    "optimizer.lr=0.05,0.1",
    "model.dropout=0.0,0.3",
    "optimizer.momentum=0.9",
    "schedule=cosine",
    "trainer.max_epochs=6",
    "data.batch_size=500",
    "logger=none",
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(root, folder, *SWEEP, "hydra.sweep.dir=sweep")
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output
    return folder / "sweep"


def states(sweep: Path) -> list[str]:
    begun = [job for job in sorted(jobs(sweep)) if (sweep / job / "run.json").exists()]
    return [run_json(sweep / job)["outcome"] for job in begun]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_stopped_sweep_goes_on_to_the_very_numbers(
    door: Door, tmp_path: Path, root: Path, undisturbed: Path, name: str
) -> None:
    signum = signal.Signals[name]
    sweep = tmp_path / "sweep"
    process = start(root, tmp_path, *SWEEP, "hydra.sweep.dir=sweep")
    wait_for(sweep / "1" / "run.json", process)
    moment = random.SystemRandom().uniform(0, run_json(sweep / "0")["seconds"])
    time.sleep(moment)
    process.send_signal(signum)
    output = process.communicate(timeout=300)[0]
    seen = f"{moment} s into job 1: {output}"
    begun = sorted(jobs(sweep))
    if signum == signal.SIGKILL:
        assert process.returncode == -signum, seen
    else:
        assert process.returncode == 128 + signum, seen
        assert f"stopped by {name}\ngo on with: uv run scripts/train.py -m sweep.resume=sweep" in output
        assert set(states(sweep)) <= {"finished", "interrupted"}, seen
    finished = [job for job in begun if (sweep / job / "metrics.json").exists()]
    before = {job: snapshot(sweep / job) for job in finished}
    assert "0" in finished

    done = door("train.py", "-m", "sweep.resume=sweep")
    assert f"sweep of 4 jobs ({len(finished)} finished before" in done.stdout, seen
    assert {job: snapshot(sweep / job) for job in finished} == before
    assert jobs(sweep) == {"0", "1", "2", "3"}
    for job in "0123":
        assert_same(sweep / job, undisturbed / job)


def test_a_job_stopped_as_it_takes_its_folder_says_so(door: Door, tmp_path: Path, root: Path) -> None:
    moment = {"signal": int(signal.SIGTERM), "region": "all", "count": 300, "process": None, "target": "self"}
    environment = {
        "PYTHONPATH": str(root / "tests" / "trust" / "moments"),
        "IMGCLF_MOMENT": json.dumps(moment | {"told": str(tmp_path / "told")}),
    }
    given = ("-m", "seed=0,1", *TINY, "hydra.sweep.dir=sweep")
    door("train.py", *given, expect=128 + signal.SIGTERM, **environment)
    assert "_prepare" in (tmp_path / "told").read_text(), "run.json is there, the configuration is not"
    assert run_json(tmp_path / "sweep" / "0")["outcome"] == "interrupted"
    assert jobs(tmp_path / "sweep") == {"0"}
    assert "2 of 2 jobs finished" in door("train.py", "-m", "sweep.resume=sweep").stdout


def test_a_sweep_is_widened_by_the_key_that_gets_more_choices_alone(door: Door, tmp_path: Path) -> None:
    given = ("optimizer.lr=0.03", "seed=0,1", *TINY, "hydra/launcher=joblib", "hydra.launcher.n_jobs=1")
    door("train.py", "-m", *given, "hydra.sweep.dir=sweep")
    done = door("train.py", "-m", "seed=0,1,2", "sweep.resume=sweep")
    assert "sweep of 3 jobs (2 finished before, 1 to begin)" in done.stdout
    config, hydra = (
        OmegaConf.load(tmp_path / "sweep" / "2" / ".hydra" / f"{name}.yaml") for name in ("config", "hydra")
    )
    assert (config.optimizer.lr, config.seed) == (0.03, 2)
    assert "joblib" in hydra.hydra.launcher._target_, "as it was begun"
    # It has become the sweep that a bare sweep.resume goes on with.
    assert "sweep of 3 jobs (3 finished before)" in door("train.py", "-m", "sweep.resume=sweep").stdout


def test_a_changed_file_does_not_have_everything_trained_again(door: Door, tmp_path: Path, root: Path) -> None:
    mine = tmp_path / "extra" / "optimizer" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text((root / "conf/optimizer/sgd.yaml").read_text())
    given = ("-m", "--config-dir", "extra", "optimizer=mine", "seed=1,2", *TINY)
    door("train.py", *given, "hydra.sweep.dir=sweep")
    mine.write_text(mine.read_text().replace("lr: 0.1", "lr: 0.2"))
    done = door("train.py", *given, "sweep.resume=sweep", expect=2)
    assert "was begun with another configuration: optimizer.lr was 0.1, is 0.2. Give" in done.stderr
    done = door("train.py", *given, "sweep.resume=sweep", "optimizer.lr=0.1")
    assert "2 finished before" in done.stdout


def test_the_command_line_changes_what_an_experiment_sweeps_over(door: Door, tmp_path: Path) -> None:
    given = ("experiment=mlp_activations", "data=fashion_mnist_mini", *TINY, "hydra.sweep.dir=sweep")
    done = door("train.py", *given, "model.activation=tanh", "seed=3,4")
    assert "sweep of 2 jobs" in done.stdout
    configs = [OmegaConf.load(tmp_path / "sweep" / job / ".hydra" / "config.yaml") for job in ("0", "1")]
    assert [(c.model.activation, c.seed) for c in configs] == [("tanh", 3), ("tanh", 4)]


def test_a_sweeps_folder_is_not_taken_twice(door: Door) -> None:
    door("train.py", "-m", "seed=1,2", *TINY, "hydra.sweep.dir=a 'sweep', really", expect=None)
    door("train.py", "-m", "seed=1,2", *TINY, "hydra.sweep.dir=sweep")
    done = door("train.py", "-m", "seed=3,4", *TINY, "hydra.sweep.dir=sweep", expect=2)
    assert "holds a sweep already: go on with it by sweep.resume=sweep" in done.stderr


# --- several processes a job ---


@pytest.fixture(scope="module")
def singles(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """The points of MIXED, each run by a process of its own."""
    folder = tmp_path_factory.mktemp("singles")
    for deterministic, trainer in POINTS:
        given = [a for a in MIXED if "," not in a and a != "-m"]
        given += [f"trainer.deterministic={deterministic}", f"trainer={trainer}"]
        process = start(root, folder, *given, f"hydra.run.dir={deterministic}_{trainer}")
        output = process.communicate(timeout=300)[0]
        assert process.returncode == 0, output
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


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_jobs_of_one_and_several_processes_come_to_what_single_runs_come_to(
    door: Door, tmp_path: Path, singles: Path, launcher: str
) -> None:
    done = door("train.py", *MIXED, f"hydra/launcher={launcher}")
    (sweep,) = (tmp_path / "logs" / "sweeps" / "mlp_fashion_mnist_mini").iterdir()
    assert jobs(sweep) == {"0", "1", "2", "3"}
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["sweeps"]
    for number, (deterministic, trainer) in enumerate(POINTS):
        assert_same(sweep / str(number), singles / f"{deterministic}_{trainer}")
        log = (sweep / str(number) / "train.log").read_text()
        assert log.count("epoch 1/2") == 1, "trained once"
        assert f"{2 if trainer == 'ddp_cpu' else 1} x CPU" in log
    assert done.stderr.count("epoch 1/2") == 4


# --- several jobs at a time ---


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_jobs_in_other_processes_are_stopped_and_go_on(
    door: Door, tmp_path: Path, root: Path, undisturbed: Path, name: str
) -> None:
    sweep = tmp_path / "sweep"
    process = start(root, tmp_path, *SWEEP, "hydra/launcher=joblib", "hydra.sweep.dir=sweep", group=True)
    wait_for(sweep / "1" / "run.json", process)
    wait_for(sweep / "0" / "run.json", process)
    time.sleep(random.SystemRandom().uniform(0, 1))
    if name == "SIGINT":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        output = process.communicate(timeout=300)[0]
        assert process.returncode == 130, output
        assert "go on with: uv run scripts/train.py -m sweep.resume=sweep" in output
        assert "running" not in states(sweep)
    else:
        process.kill()
        process.communicate(timeout=300)  # its workers, which have the same output, are gone
    done = door("train.py", "-m", "sweep.resume=sweep", "hydra.launcher.n_jobs=1")
    assert "4 of 4 jobs finished" in done.stdout
    for job in "0123":
        # Which job got which folder does not depend on which was done first.
        assert_same(sweep / job, undisturbed / job)
