"""Sweeps of scripts/train.py as a user runs them, stops them, and goes on with them."""

import json
import re
import shlex
import signal
import statistics
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Door, Refused, Undisturbed
from own import OWN, argument, network, stopping
from run_files import assert_same, jobs, metrics, run_json, snapshot

TINY = ("debug=fast", "callbacks=bare", "logger=none", "test=false", "hydra.sweep.dir=sweep")
KINDS = (*network("Failing", kind="good"), "model.net.kind=good,bad,other")
GOOD, BAD, OTHER = "model.net.kind@good", "model.net.kind@bad", "model.net.kind@other"
JOBLIB = ("hydra/launcher=joblib", "sweep.preflight=false")


def config(job: Path) -> dict[str, Any]:
    return yaml.safe_load((job / ".hydra" / "config.yaml").read_text())


@pytest.mark.slow
def test_folders_are_named_by_what_sets_jobs_apart(door: Door, tmp_path: Path) -> None:
    sweep, quick = tmp_path / "sweep", (*TINY, "sweep.report=false", "sweep.preflight=false")
    given = (f"model.hidden_sizes=[16],{[16] * 50}".replace(" ", ""), "optimizer.momentum=${optimizer.lr}")
    door("train.py", "-m", "optimizer.lr=0.1,0.2", *given, *quick)
    names = jobs(sweep)
    assert len(names) == 4
    for name in names:
        optimizer = config(sweep / name)["optimizer"]
        assert re.fullmatch(r"model\.hidden_sizes@_16_[\w+.@-]*-[0-9a-f]{8}", name), name
        assert len(name) <= 100
        # of long ones the hash alone tells
        assert "optimizer.lr@" not in name or f"optimizer.lr@{optimizer['lr']}" in name
        assert optimizer["momentum"] == optimizer["lr"], "a reference means the job that it is in"
    given = ("experiment=mlp_activations", "data=fashion_mnist_mini", "model.activation=tanh", "seed=3,4")
    door("train.py", *given, *TINY[:4], "sweep.report=false")
    (sweep,) = (tmp_path / "logs" / "sweeps").glob("*/*")
    assert jobs(sweep) == {"seed@3", "seed@4"}, "what it sweeps over can be changed"
    assert config(sweep / "seed@3")["model"]["activation"] == "tanh"


def test_a_failing_job_leaves_the_others_alone_and_is_run_again_alone(door: Door, tmp_path: Path) -> None:
    quick = ("sweep.report=false", "sweep.preflight=false")
    done = door("train.py", "-m", *KINDS[:-1], "model.net.kind=good,bad", *TINY, *quick, expect=1, **OWN)
    sweep = tmp_path / "sweep"
    outcomes = {job: run_json(sweep / job)["outcome"] for job in jobs(sweep)}
    assert outcomes == {GOOD: "finished", BAD: "failed"}
    assert {run_json(sweep / job)["command"] for job in jobs(sweep)} == {shlex.join(done.args)}
    assert "the loss has gone" in (sweep / BAD / "error.txt").read_text()
    summary = done.stderr[done.stderr.index("1 of 2 jobs finished") :]
    assert re.search(r"failed .*kind@bad .*\n.*the loss has gone\n", summary)
    assert f"uv run scripts/train.py -m sweep.resume={sweep}\n" in summary

    # With one more choice, in another order: what is finished is not touched, and a bare resume then means all three.
    before = snapshot(sweep / GOOD)
    more = ("-m", "model.net.kind=other,bad,good", "sweep.resume=sweep")
    assert "2 of 3 jobs finished" in door("train.py", *more, expect=1, **OWN).stderr
    (tmp_path / "mended").touch()
    assert "3 of 3 jobs finished" in door("train.py", "-m", "sweep.resume=sweep", **OWN).stdout
    assert snapshot(sweep / GOOD) == before
    assert not (sweep / BAD / "error.txt").exists()
    assert_same(sweep / BAD, sweep / OTHER)


@pytest.mark.slow
def test_on_error_stop_begins_no_further_job(door: Door, tmp_path: Path) -> None:
    done = door("train.py", "-m", *KINDS, *TINY, "sweep.on_error=stop", "sweep.report=false", expect=1, **OWN)
    assert not (tmp_path / "sweep" / OTHER / "run.json").exists()
    assert "1 of 3 jobs finished" in done.stderr
    assert re.search(r"not begun .*kind@other", done.stderr)


def test_what_is_wrong_with_any_point_is_said_before_the_first_job(refused: Refused, tmp_path: Path) -> None:
    for given, *words in (
        ("model=mlp,lenet,mpl", "model=mlp?"),
        ("optimizer.lr=0.1,1e-1", "optimizer.lr=0.1 ", "leave one of them out"),
        ("optimizer.lr=0.1,0.2 sweep.seeds=2", "sweep.seeds=2", "seed=0,1"),
        ("optimizer.lr=0.1,-1 seed=0,1", "optimizer.lr=-1 seed=0", "1 more"),
        ("experiment=mlp_activations,warmup_length", "experiment=mlp_activations", "give it alone"),
        ("schedule=constant,cosine schedule.max_updates=9", "'schedule.max_updates=choice(VALUE)'"),
    ):
        refused(f"train.py -m {given} {' '.join(TINY[:4])}", *words)
    refused("train.py -m seed=0,1", "start it once", LOCAL_RANK="1", RANK="0", WORLD_SIZE="2")
    refused("train.py", "hydra.run.dir=", LOCAL_RANK="1", RANK="0", WORLD_SIZE="2")
    assert not (tmp_path / "logs").exists(), "not even a folder"
    slurm = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0", "SLURM_NTASKS_PER_NODE": "2"}
    refused("train.py hydra.run.dir=logs/run", "SLURM has started 2 tasks, the trainer is for 1", **slurm)


@pytest.mark.slow
def test_nothing_that_a_job_leaves_in_its_process_reaches_the_next(door: Door, tmp_path: Path) -> None:
    leak = argument("callbacks.leak", "Leak", file=tmp_path / "states")
    door("train.py", "-m", "seed=0,1", *TINY, leak, "sweep.preflight=false", "sweep.report=false", **OWN)
    states = [json.loads(line) for line in (tmp_path / "states").read_text().splitlines()]
    assert states == [states[0]] * 2
    assert states[0][:2] == [str(tmp_path), None]


@pytest.mark.slow
def test_a_job_that_has_changed_is_refused(door: Door, tmp_path: Path) -> None:
    job = tmp_path / "sweep" / "seed@1"
    door("train.py", *TINY[:4], "hydra.run.dir=first")
    door("train.py", "-m", "seed=1,2", *TINY, "sweep.report=false", "init_from=first", "retrain_on_all=true")
    (job / "metrics.json").unlink()
    file = job / ".hydra" / "config.yaml"
    changed = config(job)
    changed["model"]["dropout"] = 0.25  # as though a file of conf/ had said so when it was begun
    file.write_text(yaml.safe_dump(changed))
    told = door("train.py", "-m", "seed=0,1,2", "sweep.resume=sweep", expect=2).stderr
    assert ("seed=1" in told, "configuration: model.dropout was 0.25, is 0.0. Give" in told) == (True, True)
    assert jobs(job.parent) == {"seed@1", "seed@2"}, "no job was started"


@pytest.mark.slow
def test_cross_validation_validates_on_every_image_once_and_is_averaged(door: Door, tmp_path: Path) -> None:
    given = ("data.folds=3", "data.fold=0,1,2", "debug=fast", "logger=none", "callbacks=bare", "test=false")
    told = door("train.py", "-m", *given, "hydra.sweep.dir=cv").stdout
    runs = sorted((tmp_path / "cv").glob("data.fold*"))
    assert [run_json(run)["train_images"] for run in runs] == [6666, 6667, 6667]
    mean = statistics.mean([metrics(run)["best/val/acc"] for run in runs])
    assert f"{mean:.4f} ±" in told, "one row, of three"


FIXED = ("model.dropout=0.3", "schedule=cosine", "trainer.max_epochs=2", "data.batch_size=500")
FIXED += ("callbacks=bare", "logger=none", "test=false")
SWEEP = ("-m", "seed=1,2,3", *FIXED, "sweep.report=false", "sweep.preflight=false")
JOBS = [f"seed@{seed}" for seed in (1, 2, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_a_stopped_sweep_goes_on(door: Door, tmp_path: Path, undisturbed: Undisturbed, name: str) -> None:
    signum, sweep, killed = signal.Signals[name], tmp_path / "sweep", name == "SIGKILL"
    stop = stopping(tmp_path / "armed", name, step=20, job=JOBS[1])  # 18 steps an epoch
    code = -signum if killed else 128 + signum
    done = door("train.py", *SWEEP, stop, "hydra.sweep.dir=sweep", expect=code, **OWN)
    assert killed or f"uv run scripts/train.py -m sweep.resume={sweep}" in done.stderr
    assert [(sweep / job / "metrics.json").exists() for job in JOBS] == [True, False, False]
    assert not (sweep / JOBS[2]).exists()
    before = snapshot(sweep / JOBS[0])
    done = door("train.py", "-m", "sweep.resume=sweep", **OWN)
    assert "sweep of 3 jobs (1 finished before)" in done.stdout
    assert snapshot(sweep / JOBS[0]) == before
    assert len(run_json(sweep / JOBS[1])["resumed"]) == 1
    assert_same(sweep / JOBS[1], undisturbed(*FIXED, "seed=2"))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "other"), [("SIGINT", "ddp_cpu"), ("SIGKILL", "default")])
def test_jobs_in_other_processes_go_on(
    door: Door, tmp_path: Path, undisturbed: Undisturbed, name: str, other: str
) -> None:
    sweep, signum = tmp_path / "sweep", signal.Signals[name]
    stop = stopping(tmp_path / "armed", name, step=20, job="trainer@cpu", to_parent=True)
    given = ("-m", f"trainer=cpu,{other}", "seed=1", *FIXED, *JOBLIB, stop, "hydra.sweep.dir=sweep")
    code = -signum if name == "SIGKILL" else 128 + signum
    # Comes back only when all processes are gone: they share its output.
    done = door("train.py", *given, expect=code, fresh=True, **OWN)
    # A worker of joblib's sees within half a second that its parent was killed, in which a short job may end.
    finished = list(sweep.glob("*/metrics.json"))
    begun = [file.parent for file in sweep.glob("*/run.json")]  # two processes may not have come so far
    assert name == "SIGKILL" or {run_json(job)["outcome"] for job in begun} == {"interrupted"}
    assert name == "SIGKILL" or f"uv run scripts/train.py -m sweep.resume={sweep}" in done.stderr
    door("train.py", "-m", "sweep.resume=sweep", "hydra.launcher.n_jobs=1", **OWN)
    assert finished or run_json(sweep / "trainer@cpu")["resumed"], "it has not begun anew"
    assert_same(sweep / "trainer@cpu", undisturbed(*FIXED, "seed=1"))
    assert_same(sweep / f"trainer@{other}", undisturbed(*FIXED, "seed=1", f"trainer={other}"))
    assert ("2 x CPU" in (sweep / f"trainer@{other}" / "train.log").read_text()) == (other == "ddp_cpu")
