"""The batch system that runs this process: SLURM, by itself or through submitit.

It takes the machine away when the time is up or when another job comes first, and sends a signal before. A run that
has saved is then put back into the queue as the same job, started anew with the same command, and goes on in the
folder that it has taken already.
"""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable
from typing import Any

from imgclf.errors import InputError

log = logging.getLogger(__name__)

_END_SECONDS = 60.0  # to wait for the end that a job put back into the queue is brought to


def job() -> str | None:
    """What names this job, the same when it is started again from the queue; None outside of batch systems."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    if "SLURM_JOB_ID" in os.environ:
        return os.environ["SLURM_JOB_ID"]
    if "SUBMITIT_LOCAL_JOB_ID" in os.environ:
        return f"process {os.environ['SUBMITIT_LOCAL_JOB_ID']}"
    return None


def identity() -> dict[str, str | int]:
    """For run.json: which job has taken the folder, and how often it had been started again by then."""
    name = job()
    return {} if name is None else {"job": name, "restarts": _restarts()}


def is_restart_of(read_run: Callable[[], dict[str, Any]]) -> bool:
    """Whether this is the job that took a folder, started again since.

    Args:
        read_run: gives the contents of the folder's run.json; not asked in a job's first life, when another of its
            processes may be writing it.
    """
    if job() is None or ("SLURM_JOB_ID" in os.environ and not _restarts()):
        return False
    run = read_run()
    # One SLURM job may hold several commands, two of them with the same folder by mistake; one of submitit's on this
    # machine runs a single function, which is called again only when it was put back.
    return run.get("job") == job() and ("SLURM_JOB_ID" not in os.environ or _restarts() > run.get("restarts", 0))


def _restarts() -> int:
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def tasks() -> int:
    """How many processes SLURM has started for this step of the job: 1 outside of srun."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def is_submitit() -> bool:
    """Whether submitit runs this process and hands its result on."""
    return "SUBMITIT_EXECUTOR" in os.environ


def signals() -> tuple[signal.Signals, ...]:
    """Those that say: save, and be put back into the queue. None outside of batch systems.

    Lightning listens for USR1 and submitit sends USR2; whoever writes a job script chooses one of them.
    """
    return () if job() is None else (signal.SIGUSR1, signal.SIGUSR2)


def queue_again(signum: int, *, first: bool) -> None:
    """Put this job back into the queue, once it has saved; returns only where that fails.

    Args:
        signum: the signal that announced the end.
        first: whether this process speaks for the run; the others wait for the end.

    Raises:
        SystemExit: by submitit, which puts its jobs back itself and counts how often.
    """
    if first and callable(signal.getsignal(signum)):
        signal.raise_signal(signum)
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit would have it ignored
    if first:
        done = subprocess.run(["scontrol", "requeue", str(job())], capture_output=True, text=True, check=False)
        if done.returncode:
            log.warning(f"SLURM does not put the job back into the queue: {done.stderr.strip()}")
            return
        log.info(f"job {job()} is back in the queue and will go on from its last checkpoint")
    # A process that leaves before the others would have them ended before they are through.
    time.sleep(_END_SECONDS)


def require_tasks(processes: int) -> None:
    """Check that as many processes were started from outside as the trainer is configured for.

    Args:
        processes: ``trainer.devices`` times ``trainer.num_nodes``.

    Raises:
        InputError: more or fewer, which would wait for each other or train the same run side by side.
    """
    started = tasks()
    if started > 1 and started != processes:
        raise InputError(
            f"SLURM has started {started} tasks, but the trainer is for {processes}: choose trainer=ddp with "
            "trainer.devices=<tasks of a machine> and trainer.num_nodes=<machines>, or ask SLURM for one task"
        )
    if started > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise InputError(
            f"SLURM has started {started} tasks without saying how many on each machine: "
            "ask for --ntasks-per-node=<trainer.devices> in place of --ntasks"
        )
