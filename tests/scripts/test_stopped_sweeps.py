"""Sweeps of scripts/train.py that are stopped, and go on; and two at once."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from brake import braked
from conftest import Door, Doors, Start
from run_files import run_json
from sweep_runs import TINY, assert_same, jobs, snapshot, wait_for, wait_until

FIXED = ("model.dropout=0.3", "schedule=cosine", "trainer.max_epochs=6", "data.batch_size=500", "logger=none")
SWEEP = ("-m", "optimizer.lr=0.05,0.1", "seed=1,2", *FIXED)
JOBS = [f"optimizer.lr@{rate}+seed@{seed}" for rate in ("0.05", "0.1") for seed in (1, 2)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    doors(folder)("train.py", *SWEEP, "hydra.sweep.dir=sweep")
    return folder / "sweep"


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_stopped_sweep_goes_on_to_the_very_numbers(
    door: Door, start: Start, tmp_path: Path, undisturbed: Path, name: str
) -> None:
    signum = signal.Signals[name]
    sweep = tmp_path / "sweep"
    process = start(*SWEEP, "hydra.sweep.dir=sweep")
    wait_for(sweep / JOBS[1] / "run.json", process)
    moment = random.SystemRandom().uniform(0, run_json(sweep / JOBS[0])["seconds"])
    time.sleep(moment)
    process.send_signal(signum)
    output = process.communicate()[0]
    seen = f"{moment} s into job 2: {output}"
    if signum == signal.SIGKILL:
        assert process.returncode == -signum, seen
    else:
        assert process.returncode == 128 + signum, seen
        assert f"go on with: uv run scripts/train.py -m sweep.resume={sweep}" in output
        assert "Traceback" not in output, seen
        begun = [file.parent for file in sweep.glob("*/run.json")]
        assert {run_json(job)["outcome"] for job in begun} <= {"finished", "interrupted"}, seen
    finished = [job for job in jobs(sweep) if (sweep / job / "metrics.json").exists()]
    before = {job: snapshot(sweep / job) for job in finished}
    assert JOBS[0] in finished
    assert JOBS[3] not in jobs(sweep), seen

    done = door("train.py", "-m", "sweep.resume=sweep")
    assert f"sweep of 4 jobs ({len(finished)} finished before)" in done.stdout, seen
    assert {job: snapshot(sweep / job) for job in finished} == before
    assert jobs(sweep) == set(JOBS)
    for job in JOBS:
        assert_same(sweep / job, undisturbed / job)


def writers(folder: Path) -> list[int]:
    """Numbers of the processes that have a file below a folder open."""
    found = []
    for place in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = str(place.readlink())
        except OSError:  # ended meanwhile, or another user's
            continue
        if target.startswith(f"{folder}/"):
            found.append(int(place.parts[2]))
    return found


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
@pytest.mark.counted
def test_jobs_in_other_processes_are_stopped_and_go_on(
    door: Door, tmp_path: Path, root: Path, undisturbed: Path, name: str
) -> None:
    sweep, signum, brake = tmp_path / "sweep", signal.Signals[name], tmp_path / "brake"
    options = ("hydra/launcher=joblib", "sweep.preflight=false", *braked(brake), f"hydra.sweep.dir={sweep}")
    # A Python of its own, whose main module joblib's processes import, and whose signals are not the tests'.
    process = subprocess.Popen(
        [sys.executable, root / "scripts" / "train.py", *SWEEP, *options],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root / "tests")},
        stdout=(tmp_path / "output").open("w"),
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    for job in JOBS[:2]:
        wait_until((sweep / job / "checkpoints" / "last.ckpt").exists, (tmp_path / "output").read_text)
    if name == "SIGINT":
        os.killpg(process.pid, signum)  # as a terminal does
    else:
        process.send_signal(signum)
    process.wait(300)
    wait_until(lambda: not writers(sweep), lambda: f"still at work: {writers(sweep)}")
    output = (tmp_path / "output").read_text()
    assert not any((sweep / job / "metrics.json").exists() for job in JOBS), "none has trained on to its end"
    if name != "SIGKILL":
        assert process.returncode == 128 + signum, output
        assert f"go on with: uv run scripts/train.py -m sweep.resume={sweep}" in output
        assert "Traceback" not in output
    brake.unlink()
    resumed = door("train.py", "-m", "sweep.resume=sweep", "hydra.launcher.n_jobs=1", PYTHONPATH=str(root / "tests"))
    assert "4 of 4 jobs finished" in resumed.stdout
    assert run_json(sweep / JOBS[0])["resumed"], "it has not begun anew"
    for job in JOBS:
        assert_same(sweep / job, undisturbed / job)


def test_a_job_whose_settings_have_changed_meanwhile_is_refused(door: Door, tmp_path: Path) -> None:
    door("train.py", "-m", "seed=1,2", *TINY, "hydra.sweep.dir=sweep")
    (tmp_path / "sweep" / "seed@1" / "metrics.json").unlink()
    for job in ("seed@1", "seed@2"):  # as though a file of conf/ had said so when it was begun
        file = tmp_path / "sweep" / job / ".hydra" / "config.yaml"
        stored = yaml.safe_load(file.read_text())
        stored["model"]["dropout"] = 0.25
        stored["data"]["was_there"] = 1
        file.write_text(yaml.safe_dump(stored))
    before = snapshot(tmp_path / "sweep")
    done = door("train.py", "-m", "seed=0,1,2", "sweep.resume=sweep", expect=2)
    assert done.stderr.count("begun with another configuration") == 2
    assert "model.dropout was 0.25, is 0.0" in done.stderr
    assert "data.was_there was 1, is gone" in done.stderr
    assert snapshot(tmp_path / "sweep") == before, "no job was started"


def test_two_at_the_same_sweep_train_each_job_once(door: Door, start: Start, tmp_path: Path) -> None:
    process = start("-m", "seed=1,2", *TINY, "trainer.max_epochs=5", "hydra.sweep.dir=sweep")
    wait_for(tmp_path / "sweep" / "seed@1" / "run.json", process)
    assert "2 of 2 jobs finished" in door("train.py", "-m", "sweep.resume=sweep").stdout
    assert process.wait(300) == 0, process.communicate()[0]
    for job in ("seed@1", "seed@2"):
        log = (tmp_path / "sweep" / job / "train.log").read_text()
        assert [log.count(f"epoch {number}/5") for number in range(1, 6)] == [1] * 5


def _job_on_gpus(folder: Path, begun: Any, go: Any) -> None:
    """A job on a machine with two GPUs, as far as it is told; where its process would begin, it waits."""
    import torch
    from torch.distributed.launcher import api

    from imgclf.cli import compose
    from imgclf.job import run_job
    from imgclf.run_folder import RunFolder

    def launched(*_: Any) -> Any:
        def process(*_: Any) -> None:
            begun.put(os.environ["CUDA_VISIBLE_DEVICES"])
            go.wait(60)
            RunFolder(folder).write_metrics({"best/val/acc": 0.5})

        return process

    torch.cuda.device_count = lambda: 2
    api.elastic_launch = launched  # type: ignore[misc, assignment]
    config = compose(["trainer=gpu", f"hydra.run.dir={folder}", f"hydra.sweep.dir={folder.parent}", "hydra.job.num=0"])
    begun.put(run_job(config))


def test_jobs_at_the_same_time_take_different_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where the locks are
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    context = multiprocessing.get_context("fork")
    begun, go = context.Queue(), context.Event()
    processes = [context.Process(target=_job_on_gpus, args=(tmp_path / name, begun, go)) for name in "abc"]
    for process in processes:
        process.start()
    assert {begun.get(timeout=60), begun.get(timeout=60)} == {"3", "5"}
    time.sleep(2)
    assert begun.empty(), "the third waits"
    go.set()
    rest = [begun.get(timeout=60) for _ in range(4)]
    for process in processes:
        process.join(60)
    assert sorted(map(str, rest))[:3] == ["0.5"] * 3
    assert rest[[isinstance(item, str) for item in rest].index(True)] in ("3", "5")
