"""Sweeps whose jobs are processes of this machine: submitit's, and Ray's."""

import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from brake import braked
from conftest import Door
from engines.conftest import LONG, Start, logs, needs
from run_files import run_json, table
from sweep_runs import PATIENCE, assert_same, wait_until


def test_submitit_runs_jobs_side_by_side_and_starts_a_stopped_one_again(
    start: Start, train: Path, tmp_path: Path, undisturbed: Callable[..., Path]
) -> None:
    needs("submitit", "hydra_plugins.hydra_submitit_launcher", extra="slurm")
    (tmp_path / "imgclf.py").write_text("raise RuntimeError('not ours')")
    folder = tmp_path / "sweep"
    options = ("hydra/launcher=submitit_local", "sweep.preflight=false", f"hydra.sweep.dir={folder}")
    settings = (*LONG, *braked(tmp_path / "brake"), "trainer=default,ddp_cpu")
    command = [sys.executable, str(train), "-m", *options, *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    process = start(*command, environment=environment)
    single, double = folder / "trainer@default", folder / "trainer@ddp_cpu"
    wait_until(lambda: (double / "metrics.csv").exists() and len(table(double)) >= 3, lambda: logs(folder))
    controller = max(int(place.name) for place in (folder / ".submitit").glob("[0-9]*"))  # of the second job
    (task,) = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
    os.kill(int(task), signal.SIGUSR2)
    (tmp_path / "brake").unlink()
    output = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, output + logs(folder)
    assert_same(single, undisturbed(*LONG))
    assert_same(double, undisturbed(*LONG, "trainer=ddp_cpu"))
    assert "2 x CPU" in (double / "train.log").read_text()
    assert len(run_json(double)["resumed"]) == 1
    assert {run_json(run)["command"] for run in (single, double)} == {shlex.join(command[1:])}


@pytest.mark.slow
def test_ray_runs_jobs_of_one_and_of_several_processes(
    door: Door, tmp_path: Path, undisturbed: Callable[..., Path]
) -> None:
    needs("ray", "hydra_plugins.hydra_ray_launcher", extra="ray")
    launcher = ("hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2", "sweep.preflight=false")
    tiny = ("trainer.max_epochs=1", "trainer.limit_train_batches=5", "test=false")
    door("train.py", "-m", *launcher, *tiny, "trainer=cpu,ddp_cpu", "hydra.sweep.dir=sweep")
    for trainer in ("cpu", "ddp_cpu"):
        assert_same(tmp_path / "sweep" / f"trainer@{trainer}", undisturbed(*tiny, f"trainer={trainer}"))
    assert "2 x CPU" in (tmp_path / "sweep" / "trainer@ddp_cpu" / "train.log").read_text()
