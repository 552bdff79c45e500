"""Sweeps whose jobs are processes of this machine: submitit's, and Ray's."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Door
from engines.conftest import LONG, logs, needs
from own import OWN, stopping
from run_files import assert_same, run_json


def test_submitit_runs_jobs_side_by_side_and_starts_a_stopped_one_again(
    door: Door, tmp_path: Path, undisturbed: Callable[..., Path]
) -> None:
    needs("submitit", "hydra_plugins.hydra_submitit_launcher", extra="slurm")
    (tmp_path / "imgclf.py").write_text("raise RuntimeError('not ours')")
    stop = stopping(tmp_path / "armed", "SIGUSR2", step=100, job="trainer@default")
    launcher = ("hydra/launcher=submitit_local", "sweep.preflight=false", stop, "hydra.sweep.dir=sweep")
    done = door("train.py", "-m", *launcher, *LONG, "trainer=default,ddp_cpu", expect=None, fresh=True, **OWN)
    folder = tmp_path / "sweep"
    assert done.returncode == 0, done.stdout + done.stderr + logs(folder)
    single, double = folder / "trainer@default", folder / "trainer@ddp_cpu"
    assert_same(single, undisturbed(*LONG))
    assert_same(double, undisturbed(*LONG, "trainer=ddp_cpu"))
    assert "2 x CPU" in (double / "train.log").read_text()
    assert len(run_json(single)["resumed"]) == 1
    assert {run_json(run)["command"] for run in (single, double)} == {shlex.join(done.args)}


@pytest.mark.slow
def test_ray_runs_jobs_of_one_and_of_several_processes(
    door: Door, tmp_path: Path, undisturbed: Callable[..., Path]
) -> None:
    needs("ray", "hydra_plugins.hydra_ray_launcher", extra="ray")
    launcher = ("hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2", "sweep.preflight=false")
    tiny = ("trainer.max_epochs=1", "trainer.limit_train_batches=5", "test=false")
    door("train.py", "-m", *launcher, *tiny, "trainer=cpu,ddp_cpu", "hydra.sweep.dir=sweep", fresh=True)
    for trainer in ("cpu", "ddp_cpu"):
        assert_same(tmp_path / "sweep" / f"trainer@{trainer}", undisturbed(*tiny, f"trainer={trainer}"))
    assert "2 x CPU" in (tmp_path / "sweep" / "trainer@ddp_cpu" / "train.log").read_text()
