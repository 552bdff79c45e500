"""A real SLURM on this machine, and what the tests of the engines share."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from own import OWN

PATIENCE = 300  # seconds, on a machine with much else to do
TRAIN = str(ROOT / "scripts" / "train.py")
# Dropout, and a rate that changes with each step: both must go on where they were.
LONG = ("trainer.max_epochs=7", "model.dropout=0.3", "schedule=cosine", "schedule.interval=batch", "test=false")
SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
Start = Callable[..., "subprocess.Popen[str]"]


def wait_until(condition: Callable[[], object], complaint: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.02)


class Slurm:
    """What a user of a cluster types."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def command(self, *arguments: str, fails: bool = False) -> str:
        done = subprocess.run(arguments, env=self.environment, capture_output=True, text=True, timeout=PATIENCE)
        assert fails or done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def jobs(self) -> dict[str, str]:
        """Number and state of each job that is not over."""
        lines = self.command("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def wait_until_idle(self) -> None:
        wait_until(lambda: not self.jobs(), lambda: f"still there: {self.jobs()}")

    def start_again(self, number: str) -> None:
        """SLURM lets two minutes pass before it starts a job again; not here.

        Two seconds must: a start in the very second of the last one's end counts as revoked, and the job fails.
        """
        wait_until(lambda: self.jobs().get(number) == "PENDING", lambda: str(self.jobs()))
        self.command("scontrol", "update", f"jobid={number}", "starttime=now+2")

    def cancel_all(self) -> None:
        for number in self.jobs():  # one that ends meanwhile makes scancel complain
            for signal in (["--signal=KILL"], []):
                self.command("scancel", *signal, number, fails=True)
        self.wait_until_idle()


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """SLURM with the machines of slurm.conf."""
    missing = [program for program in PROGRAMS if shutil.which(program, path=SBIN) is None]
    if missing or os.getuid() != 0:
        pytest.skip(f"SLURM's daemons need root and: apt-get install slurm-wlm munge (missing: {missing})")
    with contextlib.ExitStack() as daemons:
        # Not below pytest's folder, which other users, such as munge, may not enter.
        folder = Path(daemons.enter_context(tempfile.TemporaryDirectory(prefix="imgclf-slurm-")))
        folder.chmod(0o755)
        host = socket.gethostname().split(".")[0]
        names = {"host": host, "folder": folder, "ports": [_free_port() for _ in range(3)]}
        (folder / "slurm.conf").write_text((Path(__file__).parent / "slurm.conf").read_text().format(**names))
        for name in ("state", "spool.n1", "spool.n2", "munge"):
            (folder / name).mkdir()
        # n1 is a name to SLURM alone; jobs inherit the environment.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | OWN | {"PATH": SBIN}
        environment |= {"SLURM_CONF": str(folder / "slurm.conf"), "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
        place, user = folder / "munge", pwd.getpwnam("munge")  # munged runs as the owner of its key and its folder
        (place / "key").write_bytes(os.urandom(128))
        (place / "key").chmod(0o400)
        for path in (place, place / "key"):
            os.chown(path, user.pw_uid, user.pw_gid)
        files = [f"--{name}-file={place}/{name}" for name in ("key", "pid", "log", "seed")]
        where: dict[str, Any] = {"environment": environment, "folder": folder}
        _run(daemons, "munged", "--foreground", "--force", f"--socket={place}/socket", *files, **where, user="munge")
        wait_until(lambda: (place / "socket").exists(), lambda: (folder / "munged.out").read_text())
        for daemon in (["slurmctld", "-D", "-c"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"]):
            _run(daemons, *daemon, **where)
        started, state = Slurm(environment), ("sinfo", "--noheader", "--format=%T")
        is_up = lambda: started.command(*state, fails=True).split() == ["idle"]  # noqa: E731
        wait_until(is_up, lambda: (folder / "slurmctld.log").read_text())
        daemons.callback(started.cancel_all)
        yield started


def _run(daemons: contextlib.ExitStack, *command: str, environment: dict[str, str], folder: Path, **user: str) -> None:
    output = daemons.enter_context((folder / f"{command[0]}.out").open("w"))
    streams: dict[str, Any] = {"stdout": output, "stderr": output, "stdin": subprocess.DEVNULL, "env": environment}
    daemons.callback(daemons.enter_context(subprocess.Popen(command, **streams, **user)).kill)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def logs(folder: Path) -> str:
    """What submitit's jobs have printed."""
    return "".join(f"\n{file}:\n{file.read_text()}" for file in sorted(folder.rglob("*_log.*")))
