"""A real SLURM on this machine, and what the tests of the engines share."""

import contextlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Doors
from own import OWN, argument

PATIENCE = 300  # seconds, on a machine with much else to do
# Dropout, and a rate that changes with each step: both must go on where they were.
LONG = ("trainer.max_epochs=15", "model.dropout=0.3", "schedule=cosine", "schedule.interval=batch", "test=false")
NODE = "NodeHostname={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN"
CONFIGURATION = f"""\
ClusterName=imgclf
SlurmctldHost={{host}}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={{folder}}/munge/socket
CryptoType=crypto/munge
SlurmctldPort={{controller_port}}
SlurmctldPidFile={{folder}}/slurmctld.pid
SlurmdPidFile={{folder}}/slurmd.%n.pid
SlurmctldLogFile={{folder}}/slurmctld.log
SlurmdLogFile={{folder}}/slurmd.%n.log
StateSaveLocation={{folder}}/state
SlurmdSpoolDir={{folder}}/spool.%n
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
KillWait=5
MinJobAge=60
NodeName=n1 Port={{first_port}} {NODE}
NodeName=n2 Port={{second_port}} {NODE}
PartitionName=debug Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")


def wait_until(condition: Callable[[], object], complaint: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.02)


class Slurm:
    """What a user of a cluster types."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def command(self, *arguments: str, expect: int = 0) -> str:
        done = subprocess.run(arguments, env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == expect, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def jobs(self) -> list[tuple[str, str]]:
        """Number and state of each job that is not over."""
        lines = self.command("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return [(line.split()[0], line.split()[1]) for line in lines]

    def wait_until_idle(self) -> None:
        wait_until(lambda: not self.jobs(), lambda: f"still there: {self.jobs()}")

    def start_again(self, number: str) -> None:
        """SLURM lets two minutes pass before it starts a job again; not here."""
        wait_until(lambda: dict(self.jobs()).get(number) == "PENDING", lambda: str(self.jobs()))
        self.command("scontrol", "update", f"jobid={number}", "starttime=now")

    def is_up(self) -> bool:
        command = ["sinfo", "--noheader", "--format=%T"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=20)
        return done.returncode == 0 and done.stdout.split() == ["idle"]

    def cancel_all(self) -> None:
        for number, _ in self.jobs():  # one that ends meanwhile makes scancel complain
            for command in (["scancel", "--signal=KILL", number], ["scancel", number]):
                subprocess.run(command, env=self.environment, capture_output=True, timeout=60)
        self.wait_until_idle()


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """SLURM with two machines of two processors each, both of them this one."""
    missing = [program for program in PROGRAMS if _program(program) is None]
    if missing or os.getuid() != 0:
        pytest.skip(f"SLURM's daemons need root and: apt-get install slurm-wlm munge (missing: {missing})")
    with contextlib.ExitStack() as daemons:
        # Not below pytest's folder, which other users, such as munge, may not enter.
        folder = Path(daemons.enter_context(tempfile.TemporaryDirectory(prefix="imgclf-slurm-")))
        folder.chmod(0o755)
        host = socket.gethostname().split(".")[0]
        ports = {f"{name}_port": _free_port() for name in ("controller", "first", "second")}
        (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, folder=folder, **ports))
        for name in ("state", "spool.n1", "spool.n2", "munge"):
            (folder / name).mkdir()
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | OWN
        # n1 is a name to SLURM alone; jobs inherit the environment.
        environment |= {"SLURM_CONF": str(folder / "slurm.conf"), "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
        place, user = folder / "munge", pwd.getpwnam("munge")  # munged runs as the owner of its key and its folder
        (place / "key").write_bytes(os.urandom(128))
        (place / "key").chmod(0o400)
        for path in (place, place / "key"):
            os.chown(path, user.pw_uid, user.pw_gid)
        files = [f"--{name}-file={place}/{name}" for name in ("key", "pid", "log", "seed")]
        munged = ["munged", "--foreground", "--force", f"--socket={place}/socket", *files]
        daemons.enter_context(_running(munged, environment, folder, user="munge"))
        wait_until(lambda: (place / "socket").exists(), lambda: (folder / "munged.out").read_text())
        for daemon in (["slurmctld", "-D", "-c"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"]):
            daemons.enter_context(_running(daemon, environment, folder))
        started = Slurm(environment)
        wait_until(started.is_up, lambda: (folder / "slurmctld.log").read_text())
        daemons.callback(started.cancel_all)
        yield started


@contextlib.contextmanager
def _running(command: list[str], environment: dict[str, str], folder: Path, user: str | None = None) -> Iterator[None]:
    with (folder / f"{command[0]}.out").open("w") as output:
        process = subprocess.Popen(
            [str(_program(command[0])), *command[1:]],
            env=environment,
            user=user,
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def needs(*modules: str, extra: str) -> None:
    """Skip the calling test where an extra is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: uv run --extra {extra} pytest")


def braked(file: Path) -> str:
    """A setting of a run that is slowed down until ``file`` is deleted."""
    file.touch()
    return argument("callbacks.brake", "Brake", file=file)


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a command in an empty folder, its output in one pipe; ended with the test if not before."""
    with contextlib.ExitStack() as started:

        def run(*command: str, environment: dict[str, str]) -> subprocess.Popen[str]:
            pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            process = subprocess.Popen(command, cwd=tmp_path, env=environment, **pipe)
            started.callback(process.kill)  # does nothing to one that has ended
            return process

        yield run


def logs(folder: Path) -> str:
    """What submitit's jobs have printed."""
    return "".join(f"\n{file}:\n{file.read_text()}" for file in sorted(folder.rglob("*_log.*")))


@pytest.fixture(scope="session")
def train() -> Path:
    """The script that users call."""
    return ROOT / "scripts" / "train.py"


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Callable[..., Path]:
    """The folder of a run of these settings by itself, made once."""
    runs: dict[tuple[str, ...], Path] = {}

    def run(*settings: str) -> Path:
        if settings not in runs:
            runs[settings] = tmp_path_factory.mktemp("undisturbed") / "run"
            doors(runs[settings].parent)("train.py", *settings, "hydra.run.dir=run")
        return runs[settings]

    return run
