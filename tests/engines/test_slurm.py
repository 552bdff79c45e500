"""SLURM, really: jobs of sweeps, several processes a job, machines taken away in mid-training."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from engines.conftest import Run, Slurm, needs, wait_for

PATIENCE = 300  # seconds, on a machine with much else to do
SMALL = ("hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=30")
# Dropout, and a rate that changes with each step: both must go on where they were.
LONG = ("trainer.max_epochs=12", "model.dropout=0.3", "schedule=cosine", "schedule.interval=batch", "test=false")


@pytest.fixture
def launcher() -> None:
    needs("submitit", "hydra_plugins.hydra_submitit_launcher", extra="slurm")


def sweep(slurm: Slurm, train: Path, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    options = ["-m", "hydra/launcher=submitit_slurm", *SMALL, f"hydra.sweep.dir={folder}"]
    return subprocess.Popen(
        [sys.executable, str(train), *options, *arguments],
        cwd=folder.parent,
        env=slurm.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


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


def test_each_job_of_a_sweep_is_a_job_of_slurm(slurm: Slurm, launcher: None, train: Path, tmp_path: Path) -> None:
    process = sweep(slurm, train, tmp_path / "sweep", "optimizer.lr=0.1,0.2,0.3", "debug=fast")
    finish(process, tmp_path / "sweep")
    runs = [Run(tmp_path / "sweep" / str(number)) for number in range(3)]
    assert [float(run.rows()[0]["lr"]) for run in runs] == [0.1, 0.2, 0.3]
    assert [run.about()["outcome"] for run in runs] == ["finished"] * 3
    assert len({run.about()["job"].split("_")[0] for run in runs}) == 1, "one array"


def test_a_job_of_two_tasks_trains_once(
    slurm: Slurm, launcher: None, train: Path, tmp_path: Path, undisturbed: Callable[..., Run]
) -> None:
    settings = ("trainer.max_epochs=2", "data.batch_size=500", "trainer.precision=32-true")
    tasks = ("trainer=ddp_cpu", "hydra.launcher.tasks_per_node=2")
    finish(sweep(slurm, train, tmp_path / "sweep", *settings, *tasks), tmp_path / "sweep")
    run, single = Run(tmp_path / "sweep" / "0"), undisturbed(*settings)
    assert run.metrics().keys() == single.metrics().keys()
    for name, value in single.metrics().items():
        assert run.metrics()[name] == pytest.approx(value, abs=2e-4), name
    assert "2 x CPU" in run.log()
    assert run.log().count("epoch 1/2") == 1


@pytest.mark.parametrize("tasks", [(), ("trainer=ddp_cpu", "hydra.launcher.tasks_per_node=2")], ids=["one", "two"])
def test_a_job_whose_time_is_up_goes_on_later(
    slurm: Slurm,
    launcher: None,
    train: Path,
    tmp_path: Path,
    undisturbed: Callable[..., Run],
    tasks: tuple[str, ...],
) -> None:
    settings = (*LONG, *tasks[:1])
    process = sweep(slurm, train, tmp_path / "sweep", *settings, *tasks[1:])
    run = Run(tmp_path / "sweep" / "0")
    wait_for(lambda: len(run.rows()) >= 3, PATIENCE, lambda: logs(tmp_path / "sweep"))
    slurm.command("scancel", "--signal=USR2", slurm.jobs()[0][0])  # what submitit has SLURM send at the time's end
    start_again(slurm)
    finish(process, tmp_path / "sweep")
    run.assert_same_as(undisturbed(*settings))
    assert len(run.about()["resumed"]) == 1
    assert "stopped by SIGUSR2" in run.log()


def start_again(slurm: Slurm) -> None:
    """SLURM lets two minutes pass before it starts a job again; not here."""
    wait_for(lambda: [state for _, state in slurm.jobs()] == ["PENDING"], PATIENCE, lambda: str(slurm.jobs()))
    slurm.command("scontrol", "update", f"jobid={slurm.jobs()[0][0]}", "starttime=now")


SCRIPT = """\
#!/bin/bash
#SBATCH --ntasks-per-node={tasks} --cpus-per-task=1 --time=10 --signal=USR1@60 --requeue --open-mode=append
#SBATCH --output={folder}.out
srun --kill-on-bad-exit=1 {python} {train} {settings} hydra.run.dir={folder}
"""


@pytest.mark.parametrize(("tasks", "what"), [(1, "scontrol requeue"), (2, "scancel --signal=USR1")])
def test_a_script_of_ones_own_is_started_again_too(
    slurm: Slurm, train: Path, tmp_path: Path, undisturbed: Callable[..., Run], tasks: int, what: str
) -> None:
    settings = (*LONG, *(["trainer=ddp_cpu"] if tasks == 2 else []))
    folder, script = tmp_path / "run", tmp_path / "script.sh"
    filled = {"tasks": tasks, "folder": folder, "python": sys.executable, "train": train}
    script.write_text(SCRIPT.format(settings=" ".join(settings), **filled))
    number = slurm.command("sbatch", "--parsable", str(script)).strip()
    run, output = Run(folder), Path(f"{folder}.out")
    wait_for(lambda: len(run.rows()) >= 3, PATIENCE, output.read_text)
    slurm.command(*what.split(), number)
    start_again(slurm)
    slurm.wait_until_idle(PATIENCE)
    assert (folder / "metrics.json").exists(), output.read_text()
    run.assert_same_as(undisturbed(*settings))
    assert run.about()["job"] == number
    # Another job does not take the folder for its own.
    slurm.command("sbatch", "--wait", "--parsable", str(script), expect=2)
    assert "holds a run already: continue it with resume=" in output.read_text()


def test_tasks_that_the_trainer_does_not_expect_are_refused(slurm: Slurm, train: Path, tmp_path: Path) -> None:
    command = ["srun", "--ntasks-per-node=2", "--kill-on-bad-exit=1", sys.executable, str(train)]
    done = subprocess.run([*command, f"hydra.run.dir={tmp_path}/run"], env=slurm.environment, capture_output=True)
    assert done.returncode != 0
    assert b"SLURM has started 2 tasks, but the trainer is for 1" in done.stderr
