"""SLURM, really: jobs of sweeps, several processes a job, machines taken away in mid-training."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Undisturbed
from engines.conftest import LONG, PATIENCE, TRAIN, Slurm, Start, logs, wait_until
from own import argument
from run_files import assert_same, metrics, run_json, table

pytestmark = pytest.mark.slow


@pytest.fixture
def sweep(slurm: Slurm, tmp_path: Path) -> Iterator[Start]:
    """Start a sweep whose jobs SLURM runs, in the folder ``sweep``; ended with the test if not before."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="uv run --extra slurm pytest")
    command = [sys.executable, TRAIN, "-m", "hydra/launcher=submitit_slurm", f"hydra.sweep.dir={tmp_path}/sweep"]
    command += ["hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=30", "sweep.preflight=false"]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        started.append(subprocess.Popen([*command, *arguments], cwd=tmp_path, env=slurm.environment, **pipe))
        return started[-1]

    yield start
    for process in started:
        process.kill()  # does nothing to one that has ended


def braked(file: Path) -> str:
    """A setting of a run that is slowed down until ``file`` is deleted."""
    file.touch()
    return argument("callbacks.brake", "Brake", file=file)


def finish(process: subprocess.Popen[str], folder: Path) -> None:
    output = process.communicate(timeout=PATIENCE)[0]
    assert process.returncode == 0, output + logs(folder)


def rows(run: Path) -> int:
    return len(table(run)) if (run / "metrics.csv").exists() else 0


def test_a_job_of_an_array_whose_time_is_up_goes_on(
    slurm: Slurm, sweep: Start, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    brake = tmp_path / "brake"
    process = sweep(*LONG[1:], braked(brake), "trainer.max_epochs=7,1")
    runs = [tmp_path / "sweep" / f"trainer.max_epochs@{epochs}" for epochs in (7, 1)]
    wait_until(lambda: rows(runs[0]) >= 3, lambda: logs(tmp_path / "sweep"))
    (number,) = [name for name in slurm.jobs() if name.endswith("_0")]  # the first of an array
    slurm.command("scancel", "--signal=USR2", number)  # as submitit has SLURM do at the time's end
    brake.unlink()
    slurm.start_again(number)
    finish(process, tmp_path / "sweep")
    assert [rows(run) for run in runs] == [7, 1]
    assert [run_json(run)["outcome"] for run in runs] == ["finished"] * 2
    assert len(run_json(runs[0])["resumed"]) == 1
    assert_same(runs[0], undisturbed(*LONG))


def test_a_job_of_tasks_on_two_machines_trains_once(sweep: Start, tmp_path: Path, undisturbed: Undisturbed) -> None:
    few = ("trainer.max_epochs=2", "trainer.precision=32-true", "data.batch_size=500")
    tasks = ("trainer=ddp_cpu", "trainer.devices=1", "trainer.num_nodes=2", "hydra.launcher.nodes=2")
    finish(sweep(*few, *tasks), tmp_path / "sweep")
    (run,) = (tmp_path / "sweep").glob("*/metrics.json")
    single = metrics(undisturbed(*few))
    assert metrics(run.parent).keys() == single.keys()
    assert metrics(run.parent) == pytest.approx(single, abs=5e-4)
    log = (run.parent / "train.log").read_text()
    assert "2 x CPU" in log
    assert log.count("epoch 1/2") == 1


SCRIPT = """\
#!/bin/bash
#SBATCH --ntasks-per-node=2 --cpus-per-task=1 --time=60 --signal=USR1@120 --requeue --open-mode=append
#SBATCH --output={folder}.out
srun --kill-on-bad-exit=1 {python} {train} {settings} hydra.run.dir={folder}
"""


def test_a_script_of_ones_own_is_started_again_too(slurm: Slurm, tmp_path: Path, undisturbed: Undisturbed) -> None:
    settings = (*LONG, "trainer=ddp_cpu")
    run, script, brake = tmp_path / "run", tmp_path / "script.sh", tmp_path / "brake"
    given = shlex.join((*settings, braked(brake)))
    script.write_text(SCRIPT.format(settings=given, folder=run, python=sys.executable, train=TRAIN))
    number = slurm.command("sbatch", "--parsable", str(script)).strip()
    output = Path(f"{run}.out")
    for least, command in ((2, "scancel --signal=USR1"), (5, "scontrol requeue")):  # time is up; the machine is needed
        wait_until(lambda least=least: rows(run) >= least, output.read_text)  # type: ignore[misc]
        slurm.command(*command.split(), number)
        if command == "scontrol requeue":
            brake.unlink()
        slurm.start_again(number)
    slurm.wait_until_idle()
    assert (run / "metrics.json").exists(), output.read_text()
    assert_same(run, undisturbed(*settings))
    assert "2 x CPU" in (run / "train.log").read_text()
    assert len(run_json(run)["resumed"]) == 2
