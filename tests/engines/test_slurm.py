"""SLURM, really: jobs of sweeps, several processes a job, machines taken away in mid-training."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from brake import braked
from engines.conftest import LONG, PATIENCE, Run, Slurm, Start, needs, wait_for


@pytest.fixture
def sweep(slurm: Slurm, start: Start, train: Path, tmp_path: Path) -> Start:
    """Start a sweep whose jobs SLURM runs, in the folder ``sweep``."""
    needs("submitit", "hydra_plugins.hydra_submitit_launcher", extra="slurm")
    options = ["hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=30", "sweep.preflight=false"]
    command = [sys.executable, str(train), "-m", "hydra/launcher=submitit_slurm", *options]
    folder = f"hydra.sweep.dir={tmp_path}/sweep"
    return lambda *arguments: start(*command, folder, *arguments, environment=slurm.environment)


def finish(process: subprocess.Popen[str], folder: Path) -> str:
    try:
        output = process.communicate(timeout=PATIENCE)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        output = process.communicate()[0] + logs(folder)
        raise AssertionError(output) from None
    assert process.returncode == 0, output + logs(folder)
    return output


def logs(folder: Path) -> str:
    return "".join(f"\n{file}:\n{file.read_text()}" for file in sorted(folder.rglob("*_log.*")))


def start_again(slurm: Slurm, number: str) -> None:
    """SLURM lets two minutes pass before it starts a job again; not here."""

    def pending() -> bool:
        return dict(slurm.jobs()).get(number) == "PENDING"

    wait_for(pending, PATIENCE, lambda: str(slurm.jobs()))
    slurm.command("scontrol", "update", f"jobid={number}", "starttime=now")


def test_jobs_of_a_sweep_form_an_array_and_one_whose_time_is_up_goes_on_later(
    slurm: Slurm, sweep: Start, tmp_path: Path, undisturbed: Callable[..., Run]
) -> None:
    brake = tmp_path / "brake"
    process = sweep(*LONG, *braked(brake), "trainer.max_epochs=15,1,2")
    runs = [Run(tmp_path / "sweep" / str(number)) for number in range(3)]
    wait_for(lambda: len(runs[0].rows()) >= 3, PATIENCE, lambda: logs(tmp_path / "sweep"))
    number = runs[0].about()["job"]
    slurm.command("scancel", "--signal=USR2", number)  # as submitit has SLURM do at the time's end
    brake.unlink()
    start_again(slurm, number)
    finish(process, tmp_path / "sweep")
    assert [len(run.rows()) for run in runs] == [15, 1, 2]
    assert [run.about()["outcome"] for run in runs] == ["finished"] * 3
    assert len({run.about()["job"].split("_")[0] for run in runs}) == 1, "one array"
    assert "stopped by SIGUSR2" in runs[0].log()
    assert len(runs[0].about()["resumed"]) == 1
    runs[0].assert_same_as(undisturbed(*LONG))


ONE_MACHINE = ("hydra.launcher.tasks_per_node=2",)
TWO_MACHINES = ("trainer.devices=1", "trainer.num_nodes=2", "hydra.launcher.nodes=2")


@pytest.mark.parametrize("tasks", [ONE_MACHINE, TWO_MACHINES], ids=["one machine", "two machines"])
def test_a_job_of_two_tasks_trains_once(
    sweep: Start, tmp_path: Path, undisturbed: Callable[..., Run], tasks: tuple[str, ...]
) -> None:
    few = ("trainer.max_epochs=2", "trainer.precision=32-true", "data.batch_size=500", "test=false")
    finish(sweep(*few, "trainer=ddp_cpu", *tasks), tmp_path / "sweep")
    run, single = Run(tmp_path / "sweep" / "0"), undisturbed(*few)
    assert run.metrics().keys() == single.metrics().keys()
    for name, value in single.metrics().items():
        assert run.metrics()[name] == pytest.approx(value, abs=2e-4), name
    assert "2 x CPU" in run.log()
    assert run.log().count("epoch 1/2") == 1


SCRIPT = """\
#!/bin/bash
#SBATCH --ntasks-per-node=2 --cpus-per-task=1 --time=60 --signal=USR1@120 --requeue --open-mode=append
#SBATCH --output={folder}.out
srun --kill-on-bad-exit=1 {python} {train} {settings} hydra.run.dir={folder}
"""


def test_a_script_of_ones_own_is_started_again_too(
    slurm: Slurm, train: Path, tmp_path: Path, undisturbed: Callable[..., Run]
) -> None:
    settings = (*LONG, "trainer=ddp_cpu")
    folder, script = tmp_path / "run", tmp_path / "script.sh"
    brake = tmp_path / "brake"
    filled = {"folder": folder, "python": sys.executable, "train": train}
    script.write_text(SCRIPT.format(settings=" ".join((*settings, *braked(brake))), **filled))
    number = slurm.command("sbatch", "--parsable", str(script)).strip()
    run, output = Run(folder), Path(f"{folder}.out")
    for rows, command in ((3, "scancel --signal=USR1"), (8, "scontrol requeue")):  # time is up; the machine is needed
        wait_for(lambda rows=rows: len(run.rows()) >= rows, PATIENCE, output.read_text)  # type: ignore[misc]
        slurm.command(*command.split(), number)
        if command == "scontrol requeue":
            brake.unlink()
        start_again(slurm, number)
    slurm.wait_until_idle(PATIENCE)
    assert (folder / "metrics.json").exists(), output.read_text()
    run.assert_same_as(undisturbed(*settings))
    assert "2 x CPU" in run.log()
    assert len(run.about()["resumed"]) == 2
    assert run.about()["job"] == number


def test_tasks_that_the_trainer_does_not_expect_are_refused(slurm: Slurm, train: Path, tmp_path: Path) -> None:
    command = ["srun", "--ntasks-per-node=2", "--kill-on-bad-exit=1", sys.executable, str(train)]
    done = subprocess.run(
        [*command, f"hydra.run.dir={tmp_path}/run"], env=slurm.environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode != 0
    assert "SLURM has started 2 tasks, but the trainer is for 1" in done.stderr
