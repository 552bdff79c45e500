"""Sweeps of scripts/train.py that are stopped, and go on."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Door, Doors, Start
from omegaconf import OmegaConf
from run_files import run_json
from sweep_runs import TINY, assert_same, jobs, snapshot, wait_for

from imgclf.holding import held

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
def undisturbed(tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    doors(folder)("train.py", *SWEEP, "hydra.sweep.dir=sweep")
    return folder / "sweep"


def states(sweep: Path) -> list[str]:
    begun = [job for job in sorted(jobs(sweep)) if (sweep / job / "run.json").exists()]
    return [run_json(sweep / job)["outcome"] for job in begun]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_stopped_sweep_goes_on_to_the_very_numbers(
    door: Door, start: Start, tmp_path: Path, undisturbed: Path, name: str
) -> None:
    signum = signal.Signals[name]
    sweep = tmp_path / "sweep"
    process = start(*SWEEP, "hydra.sweep.dir=sweep")
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
    # References mean the job that they are in, when the sweep is widened too.
    given = ("optimizer.lr=0.01,0.02", "optimizer.momentum=${optimizer.lr}", *TINY)
    hydra = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=1", "hydra.sweep.subdir=lr_${optimizer.lr}")
    door("train.py", "-m", *given, *hydra, "hydra.sweep.dir=sweep")
    done = door("train.py", "-m", "optimizer.lr=0.01,0.02,0.03", "sweep.resume=sweep")
    assert "sweep of 3 jobs (2 finished before, 1 to begin)" in done.stdout
    assert jobs(tmp_path / "sweep") == {"lr_0.01", "lr_0.02", "lr_0.03"}
    assert "run folder: " in done.stdout
    assert "TensorBoard: " not in done.stdout, "with logger=none it would have nothing to show"
    config, hydra_config = (
        OmegaConf.load(tmp_path / "sweep" / "lr_0.03" / ".hydra" / f"{name}.yaml") for name in ("config", "hydra")
    )
    assert (config.optimizer.lr, config.optimizer.momentum) == (0.03, 0.03)
    assert "joblib" in hydra_config.hydra.launcher._target_, "as it was begun"
    # It has become the sweep that a bare sweep.resume goes on with.
    assert "sweep of 3 jobs (3 finished before)" in door("train.py", "-m", "sweep.resume=sweep").stdout


def test_a_job_is_not_trained_with_the_number_of_another(door: Door, tmp_path: Path) -> None:
    door("train.py", "-m", "optimizer.lr=0.01,0.02", "seed=${hydra:job.num}", *TINY, "hydra.sweep.dir=sweep")
    assert [OmegaConf.load(tmp_path / "sweep" / job / ".hydra" / "config.yaml").seed for job in "01"] == [0, 1]
    door("train.py", "-m", "optimizer.lr=0.01,0.02,0.03", "sweep.resume=sweep")
    assert OmegaConf.load(tmp_path / "sweep" / "2" / ".hydra" / "config.yaml").seed == 2
    # To joblib the fourth job is the first, and only one, that is now begun.
    joblib = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=1")
    done = door("train.py", "-m", "optimizer.lr=0.01,0.02,0.03,0.04", *joblib, "sweep.resume=sweep", expect=1)
    assert "depends on the job's number" in done.stderr
    assert "write the values out" in done.stderr
    assert states(tmp_path / "sweep") == ["finished"] * 3 + ["failed"]


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


def test_a_sweep_with_a_job_that_another_process_is_at_is_not_gone_on_with(door: Door, tmp_path: Path) -> None:
    door("train.py", "-m", "seed=1,2", *TINY, "hydra.sweep.dir=sweep")
    with held(tmp_path / "sweep" / "1", "a run"):
        done = door("train.py", "-m", "sweep.resume=sweep", expect=2)
    assert "another process is still at work in 1 of sweep" in done.stderr
    assert "2 of 2 jobs finished" in door("train.py", "-m", "sweep.resume=sweep").stdout


def test_a_sweeps_folder_may_be_called_anything(door: Door, tmp_path: Path) -> None:
    done = door("train.py", "-m", "seed=1,2", *TINY, "hydra.sweep.dir=\"a 'sweep', really\"")
    assert "2 of 2 jobs finished" in done.stdout
    assert jobs(tmp_path / "a 'sweep', really") == {"0", "1"}


def test_a_report_that_cannot_be_written_does_not_make_the_sweep_a_failed_one(door: Door, tmp_path: Path) -> None:
    (tmp_path / "sweep" / "report.html" / "in the way").mkdir(parents=True)
    done = door("train.py", "-m", "seed=1", *TINY, "hydra.sweep.dir=sweep")
    assert "1 of 1 jobs finished" in done.stdout
    assert "no report: the report cannot be written to sweep (Is a directory)" in done.stderr
    assert "to make it later: uv run scripts/report.py sweep=sweep" in done.stderr


def test_a_sweeps_folder_is_not_taken_twice(door: Door) -> None:
    door("train.py", "-m", "seed=1,2", *TINY, "hydra.sweep.dir=sweep")
    done = door("train.py", "-m", "seed=3,4", *TINY, "hydra.sweep.dir=sweep", expect=2)
    assert "holds a sweep already: go on with it by sweep.resume=sweep" in done.stderr


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
@pytest.mark.counted
def test_jobs_in_other_processes_are_stopped_and_go_on(
    door: Door, tmp_path: Path, root: Path, undisturbed: Path, name: str
) -> None:
    sweep = tmp_path / "sweep"
    # A Python of its own, whose main module joblib's processes import, and whose signals are not the tests'.
    process = subprocess.Popen(
        [sys.executable, root / "scripts" / "train.py", *SWEEP, "hydra/launcher=joblib", "hydra.sweep.dir=sweep"],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
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
