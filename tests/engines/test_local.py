"""Sweeps whose jobs are processes of this machine: submitit's, and Ray's."""

from pathlib import Path

import pytest
from conftest import Door
from engines.conftest import Run, needs

TINY = ("trainer.max_epochs=1", "trainer.limit_train_batches=5", "data.batch_size=100")


def launcher(name: str) -> list[str]:
    if name == "local":
        needs("submitit", "hydra_plugins.hydra_submitit_launcher", extra="slurm")
        return ["hydra/launcher=submitit_local"]
    needs("ray", "hydra_plugins.hydra_ray_launcher", extra="ray")
    return ["hydra/launcher=ray", "hydra.launcher.ray.init.num_cpus=2"]


@pytest.mark.parametrize("name", ["local", "ray"])
def test_a_sweep_trains_each_job_in_a_folder_of_its_own(door: Door, tmp_path: Path, name: str) -> None:
    door("train.py", "-m", *launcher(name), *TINY, "optimizer.lr=0.1,0.2", "hydra.sweep.dir=sweep")
    door("train.py", *TINY, "optimizer.lr=0.2", "hydra.run.dir=single")
    runs = [Run(tmp_path / "sweep" / number) for number in "01"]
    assert [float(run.rows()[0]["lr"]) for run in runs] == [0.1, 0.2]
    runs[1].assert_same_as(Run(tmp_path / "single"))


@pytest.mark.parametrize("name", ["local", "ray"])
def test_a_job_may_consist_of_several_processes(door: Door, tmp_path: Path, name: str) -> None:
    settings = (*TINY, "trainer=ddp_cpu")
    door("train.py", "-m", *launcher(name), *settings, "seed=3", "hydra.sweep.dir=sweep")
    door("train.py", *settings, "seed=3", "hydra.run.dir=single")
    run = Run(tmp_path / "sweep" / "0")
    assert "2 x CPU" in run.log()
    run.assert_same_as(Run(tmp_path / "single"))
