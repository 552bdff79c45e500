"""Sweeps whose jobs are processes of this machine, submitit's and Ray's; what is said where an extra is missing."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Door, Refused, Undisturbed
from engines.conftest import LONG, TRAIN, logs
from own import OWN, stopping
from run_files import assert_same, run_json

EXTRAS = {
    **{"hydra/launcher=joblib": "joblib", "hydra/launcher=submitit_slurm": "slurm", "hydra/launcher=ray": "ray"},
    **{"hydra/sweeper=optuna": "optuna", "search=mlp": "optuna", "hydra/launcher=submitit_local": "slurm"},
}


@pytest.mark.slow
def test_submitit_starts_a_stopped_job_again(door: Door, tmp_path: Path, undisturbed: Undisturbed) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="uv run --extra slurm pytest")
    (tmp_path / "imgclf.py").write_text("raise RuntimeError('not ours')")
    stop = stopping(tmp_path / "armed", "SIGUSR2", step=100, job="trainer@default")
    launcher = ("hydra/launcher=submitit_local", "sweep.preflight=false", stop, "hydra.sweep.dir=sweep")
    done = door("train.py", "-m", *launcher, *LONG, "trainer=default,ddp_cpu", expect=None, **OWN)
    folder = tmp_path / "sweep"
    assert done.returncode == 0, done.stdout + done.stderr + logs(folder)
    single, double = folder / "trainer@default", folder / "trainer@ddp_cpu"
    assert_same(single, undisturbed(*LONG))
    assert "2 x CPU" in (double / "train.log").read_text()
    assert (len(run_json(single)["resumed"]), run_json(double)["outcome"]) == (1, "finished")
    assert {run_json(run)["command"] for run in (single, double)} == {shlex.join(done.args)}


@pytest.mark.slow
def test_ray_runs_jobs_of_one_and_of_several_processes(door: Door, tmp_path: Path, undisturbed: Undisturbed) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="uv run --extra ray pytest")
    launcher = ("hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=1", "sweep.preflight=false")
    tiny = ("trainer.max_epochs=1", "trainer.limit_train_batches=5", "test=false")
    done = door("train.py", "-m", *launcher, *tiny, "trainer=cpu,ddp_cpu", "hydra.sweep.dir=sweep", fresh=True)
    assert "packag" not in done.stdout + done.stderr, "the jobs run in this environment, though `uv run` began it"
    assert_same(tmp_path / "sweep" / "trainer@cpu", undisturbed(*tiny, "trainer=cpu"))
    assert "2 x CPU" in (tmp_path / "sweep" / "trainer@ddp_cpu" / "train.log").read_text()


def test_a_missing_extra_is_named_and_nothing_begun(tmp_path: Path) -> None:
    # Hydra finds plugins by the package hydra_plugins, which is kept from it here.
    program = f"""
import runpy, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == 'hydra_plugins':
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
for choice in {list(EXTRAS)}:
    sys.argv = [{TRAIN!r}, '-m', choice, 'seed=0,1']
    try:
        runpy.run_path(sys.argv[0], run_name='__main__')
    except SystemExit as end:
        print(end.code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.stdout.split() == ["2"] * len(EXTRAS), done.stderr
    for line, extra in zip(done.stderr.splitlines(), EXTRAS.values(), strict=True):
        assert f"uv run --extra {extra} scripts/train.py" in line
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_launchers_key_of_the_wrong_type_is_answered_at_once(refused: Refused) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="uv run --extra slurm pytest")
    refused("train.py -m hydra/launcher=submitit_slurm hydra.launcher.timeout_min=abc", "hydra.launcher.timeout_min")
