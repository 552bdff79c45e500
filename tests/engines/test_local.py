"""Sweeps whose jobs are processes of this machine: submitit's, and Ray's."""

import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from brake import braked
from conftest import Door
from engines.conftest import LONG, PATIENCE, Run, Start, needs, wait_for


def test_submitit_runs_jobs_side_by_side_and_starts_a_stopped_one_again(
    start: Start, train: Path, tmp_path: Path, undisturbed: Callable[..., Run]
) -> None:
    needs("submitit", "hydra_plugins.hydra_submitit_launcher", extra="slurm")
    (tmp_path / "imgclf.py").write_text("raise RuntimeError('not ours')")
    folder = tmp_path / "sweep"
    options = ("hydra/launcher=submitit_local", "sweep.preflight=false", f"hydra.sweep.dir={folder}")
    settings = (*LONG, *braked(tmp_path / "brake"), "trainer=default,ddp_cpu")
    command = [sys.executable, str(train), "-m", *options, *settings]
    process = start(
        *command, environment=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    )
    single, double = (Run(folder / number) for number in "01")
    wait_for(lambda: len(double.rows()) >= 3, PATIENCE, lambda: logs(folder))
    controller = double.about()["job"].split()[-1]
    (task,) = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
    os.kill(int(task), signal.SIGUSR2)
    (tmp_path / "brake").unlink()
    output = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, output + logs(folder)
    single.assert_same_as(undisturbed(*LONG))
    double.assert_same_as(undisturbed(*LONG, "trainer=ddp_cpu"))
    assert "2 x CPU" in double.log()
    assert len(double.about()["resumed"]) == 1
    assert {run.about()["command"] for run in (single, double)} == {shlex.join(command[1:])}


def logs(folder: Path) -> str:
    return "".join(f"\n{file}:\n{file.read_text()}" for file in sorted(folder.rglob("*_log.*")))


def test_ray_runs_jobs_of_one_and_of_several_processes(
    door: Door, tmp_path: Path, undisturbed: Callable[..., Run]
) -> None:
    needs("ray", "hydra_plugins.hydra_ray_launcher", extra="ray")
    launcher = ("hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2", "sweep.preflight=false")
    tiny = ("trainer.max_epochs=1", "trainer.limit_train_batches=5", "test=false")
    done = door("train.py", "-m", *launcher, *tiny, "trainer=cpu,ddp_cpu", "hydra.sweep.dir=sweep")
    for number, trainer in (("0", "cpu"), ("1", "ddp_cpu")):
        Run(tmp_path / "sweep" / number).assert_same_as(undisturbed(*tiny, f"trainer={trainer}"))
        assert Run(tmp_path / "sweep" / number).about()["command"] == shlex.join(done.args[1:])
    assert "2 x CPU" in Run(tmp_path / "sweep" / "1").log()
