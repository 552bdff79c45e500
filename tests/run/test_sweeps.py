"""Sweeps of scripts/train.py as a user runs them, stops them, and goes on with them."""

import json
import re
import shlex
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Door, Refused, Undisturbed
from filelock import FileLock
from own import OWN, argument, network, stopping
from run_files import assert_same, jobs, run_json, snapshot

TINY = ("debug=fast", "callbacks=bare", "logger=none", "test=false", "hydra.sweep.dir=sweep")
KINDS = (*network("Failing", kind="good"), "model.net.kind=good,bad,other")
GOOD, BAD, OTHER = "model.net.kind@good", "model.net.kind@bad", "model.net.kind@other"
# The one that begins joblib's processes then has no need of torch, which each of them loads.
JOBLIB = ("hydra/launcher=joblib", "sweep.preflight=false")


def config(job: Path) -> dict[str, Any]:
    return yaml.safe_load((job / ".hydra" / "config.yaml").read_text())


def test_folders_are_named_by_what_sets_jobs_apart(door: Door, tmp_path: Path) -> None:
    sweep, quick = tmp_path / "sweep", (*TINY, "sweep.report=false", "sweep.preflight=false")
    door("train.py", "-m", "optimizer.lr=0.1,0.2", f"model.hidden_sizes=[16],{[16] * 50}".replace(" ", ""), *quick)
    names = jobs(sweep)
    assert len(names) == 4
    for name in names:
        assert re.fullmatch(r"model\.hidden_sizes@_16_[\w+.@-]*-[0-9a-f]{8}", name), name
        assert len(name) <= 100
        if "optimizer.lr@" in name:  # of the others the hash alone tells
            assert f"optimizer.lr@{config(sweep / name)['optimizer']['lr']}" in name
    door("train.py", "-m", *quick, "hydra.sweep.dir=alone")
    assert jobs(tmp_path / "alone") == {"0"}
    given = ("experiment=mlp_activations", "data=fashion_mnist_mini", "model.activation=tanh", "seed=3,4")
    door("train.py", *given, *TINY[:4], "sweep.report=false")
    (sweep,) = (tmp_path / "logs" / "sweeps").glob("*/*")
    assert jobs(sweep) == {"seed@3", "seed@4"}, "what it sweeps over can be changed"
    assert config(sweep / "seed@3")["model"]["activation"] == "tanh"


def test_references_mean_the_job_that_they_are_in_and_no_report_is_no_failure(door: Door, tmp_path: Path) -> None:
    (tmp_path / "sweep" / "report.html" / "in the way").mkdir(parents=True)
    done = door("train.py", "-m", "optimizer.lr=0.01,0.02", "optimizer.momentum=${optimizer.lr}", *TINY)
    assert "2 of 2 jobs finished" in done.stdout
    assert "uv run scripts/report.py" in done.stderr
    for rate in (0.01, 0.02):
        job = tmp_path / "sweep" / f"optimizer.lr@{rate}"
        assert config(job)["optimizer"]["momentum"] == rate
        assert "optimizer.momentum=${optimizer.lr}" in yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text())


@pytest.mark.parametrize("launcher", [(), pytest.param(JOBLIB, marks=pytest.mark.slow)], ids=["basic", "joblib"])
def test_a_failing_job_leaves_the_others_alone_and_is_run_again_alone(
    door: Door, tmp_path: Path, launcher: tuple[str, ...]
) -> None:
    done = door("train.py", "-m", *KINDS, *TINY, "sweep.report=false", *launcher, expect=1, fresh=bool(launcher), **OWN)
    sweep = tmp_path / "sweep"
    outcomes = {job: run_json(sweep / job)["outcome"] for job in jobs(sweep)}
    assert outcomes == {GOOD: "finished", OTHER: "finished", BAD: "failed"}
    assert {run_json(sweep / job)["command"] for job in jobs(sweep)} == {shlex.join(done.args)}
    assert "the loss has gone" in (sweep / BAD / "error.txt").read_text()
    summary = done.stderr[done.stderr.index("2 of 3 jobs finished") :]
    assert re.search(r"failed .*kind@bad .*\n.*the loss has gone\n", summary)
    assert f"uv run scripts/train.py -m sweep.resume={sweep}\n" in summary

    # With one more choice, in another order: what is finished is not touched, and a bare resume then means all four.
    before = snapshot(sweep / GOOD) | snapshot(sweep / OTHER)
    here = ("hydra.launcher.n_jobs=1",) if launcher else ()  # joblib then stays in its process
    more = ("-m", "model.net.kind=new,bad,other,good", "sweep.resume=sweep", *here)
    assert "3 of 4 jobs finished" in door("train.py", *more, expect=1, **OWN).stderr
    (tmp_path / "mended").touch()
    assert "4 of 4 jobs finished" in door("train.py", "-m", "sweep.resume=sweep", *here, **OWN).stdout
    assert snapshot(sweep / GOOD) | snapshot(sweep / OTHER) == before
    assert not (sweep / BAD / "error.txt").exists()
    assert_same(sweep / BAD, sweep / OTHER)


def test_on_error_stop_begins_no_further_job(door: Door, tmp_path: Path) -> None:
    done = door("train.py", "-m", *KINDS, *TINY, "sweep.on_error=stop", "sweep.report=false", expect=1, **OWN)
    assert not (tmp_path / "sweep" / OTHER / "run.json").exists()
    assert "1 of 3 jobs finished" in done.stderr
    assert re.search(r"not begun .*kind@other", done.stderr)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("model=mlp,lenet,mpl", ["model=mlp?"]),
        ("optimizer.lr=0.1,1e-1", ["optimizer.lr=0.1 ", "leave one of them out"]),
        ("optimizer.lr=0.1,0.2 seed=0,1 hydra.sweep.subdir=lr_${optimizer.lr}", ["lr_0.1"]),
        ("model.dropout=0.1,1.5", ["model.dropout=1.5"]),
        ("optimizer.lr=0.1,-1 seed=0,1", ["optimizer.lr=-1 seed=0", "1 more"]),
        ("hydra/sweeper=optuna optimizer.lr=interval(0.1,1)", ["hydra.sweeper.direction="]),
    ],
)
def test_what_is_wrong_with_any_point_is_said_before_the_first_job(
    refused: Refused, tmp_path: Path, given: str, words: list[str]
) -> None:
    refused(f"train.py -m {given} {' '.join(TINY[:4])}", *words)
    assert not (tmp_path / "logs").exists(), "not even a folder"


def test_torchrun_is_not_for_sweeps(refused: Refused) -> None:
    refused("train.py -m seed=0,1", "start it once", LOCAL_RANK="1", RANK="0", WORLD_SIZE="2")


def test_nothing_that_a_job_leaves_in_its_process_reaches_the_next(door: Door, tmp_path: Path) -> None:
    leak = argument("callbacks.leak", "Leak", file=tmp_path / "states")
    door("train.py", "-m", "seed=0,1,2", *TINY, leak, "sweep.preflight=false", "sweep.report=false", **OWN)
    states = [json.loads(line) for line in (tmp_path / "states").read_text().splitlines()]
    assert states == [states[0]] * 3
    assert states[0][:2] == [str(tmp_path), None]


@pytest.mark.slow
def test_a_job_that_has_changed_is_refused_and_one_that_somebody_else_is_at_is_waited_for(
    door: Door, tmp_path: Path
) -> None:
    sweep, kept = tmp_path / "sweep", tmp_path / "metrics.json"
    door("train.py", "-m", "seed=1,2", *TINY, "sweep.report=false")
    job = sweep / "seed@1"
    (job / "metrics.json").rename(kept)
    stored = {name: sweep / name / ".hydra" / "config.yaml" for name in ("seed@1", "seed@2")}
    whole = {name: file.read_text() for name, file in stored.items()}
    for name, file in stored.items():  # as though a file of conf/ had said so when it was begun
        changed = config(sweep / name)
        changed["model"]["dropout"], changed["data"]["was_there"] = 0.25, 1
        file.write_text(yaml.safe_dump(changed))
    before = snapshot(sweep)
    told = door("train.py", "-m", "seed=0,1,2", "sweep.resume=sweep", expect=2).stderr
    for word in ("seed=1", "seed=2", "model.dropout was 0.25, is 0.0", "data.was_there was 1"):
        assert word in told
    assert snapshot(sweep) == before, "no job was started"

    for name, file in stored.items():
        file.write_text(whole[name])
    before, held, begun = snapshot(job), threading.Event(), time.monotonic()

    def hold() -> None:
        with FileLock(job / ".lock"):
            held.set()
            time.sleep(3)
            kept.rename(job / "metrics.json")

    (somebody := threading.Thread(target=hold)).start()
    held.wait()
    assert "2 of 2 jobs finished" in door("train.py", "-m", "sweep.resume=sweep").stdout
    somebody.join()
    assert time.monotonic() - begun > 2.5
    assert snapshot(job).keys() - before.keys() == {str(job / "metrics.json")}, "it was not trained again"


# --- stopped sweeps ---

FIXED = ("model.dropout=0.3", "schedule=cosine", "trainer.max_epochs=2", "data.batch_size=500", "logger=none")
SWEEP = ("-m", "seed=1,2,3", *FIXED, "sweep.report=false")
JOBS = [f"seed@{seed}" for seed in (1, 2, 3)]


@pytest.mark.parametrize(
    "name", ["SIGTERM", *(pytest.param(name, marks=pytest.mark.slow) for name in ("SIGINT", "SIGKILL"))]
)
def test_a_stopped_sweep_goes_on_to_the_very_numbers(
    door: Door, tmp_path: Path, undisturbed: Undisturbed, name: str
) -> None:
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
    assert_same(sweep / JOBS[1], undisturbed(*FIXED, JOBS[1].replace("@", "=")))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGKILL"])
def test_jobs_in_other_processes_of_one_and_of_several_are_stopped_and_go_on(
    door: Door, tmp_path: Path, undisturbed: Undisturbed, name: str
) -> None:
    sweep, signum = tmp_path / "sweep", signal.Signals[name]
    stop = stopping(tmp_path / "armed", name, step=20, job="trainer@cpu", to_parent=True)
    given = ("-m", "trainer=cpu,ddp_cpu", "seed=1", *FIXED, *JOBLIB, stop, "hydra.sweep.dir=sweep")
    code = -signum if name == "SIGKILL" else 128 + signum
    # Comes back only when all processes are gone: they share its output.
    done = door("train.py", *given, expect=code, fresh=True, **OWN)
    # A worker of joblib's sees within half a second that its parent was killed, in which a short job may end.
    finished = list(sweep.glob("*/metrics.json"))
    assert name == "SIGKILL" or not finished, "none has trained on to its end"
    assert name == "SIGKILL" or f"uv run scripts/train.py -m sweep.resume={sweep}" in done.stderr
    door("train.py", "-m", "sweep.resume=sweep", "hydra.launcher.n_jobs=1", **OWN)
    assert finished or run_json(sweep / "trainer@cpu")["resumed"], "it has not begun anew"
    assert_same(sweep / "trainer@cpu", undisturbed(*FIXED, "seed=1"))
    assert_same(sweep / "trainer@ddp_cpu", undisturbed(*FIXED, "seed=1", "trainer=ddp_cpu"))
    assert "2 x CPU" in (sweep / "trainer@ddp_cpu" / "train.log").read_text()
