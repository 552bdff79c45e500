"""The batch system above a run's processes: SLURM, by itself or through submitit.

It takes the machine away when the time is up or when another job comes first, and sends a signal before. A run that
has saved is then put back into the queue, started anew with the same command, and goes on in its folder.
"""

import logging
import os
import signal
import subprocess
import time

log = logging.getLogger(__name__)

_REQUEUE_SECONDS = 60.0  # to wait for the end that a job put back into the queue is brought to


def slurm_tasks() -> int:
    """How many processes SLURM has started for this step of its job: 1 outside of srun."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def is_submitit() -> bool:
    """Whether submitit runs this process and hands its result on."""
    return "SUBMITIT_EXECUTOR" in os.environ


def is_restarted() -> bool:
    """Whether SLURM has put this job back into its queue, and started it again."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0


def job_signals() -> tuple[signal.Signals, ...]:
    """Those by which a batch system says: save, and be put back into the queue. None outside of one.

    Job scripts send USR1 as Lightning expects it, submitit sends USR2.
    """
    return (signal.SIGUSR1, signal.SIGUSR2) if "SLURM_JOB_ID" in os.environ or is_submitit() else ()


def queue_again(signum: int, *, first: bool) -> None:
    """Put this batch job back into the queue, once its run has saved; returns only where that fails.

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
        name = os.environ.get("SLURM_ARRAY_JOB_ID", os.environ["SLURM_JOB_ID"])
        name += f"_{os.environ['SLURM_ARRAY_TASK_ID']}" if "SLURM_ARRAY_TASK_ID" in os.environ else ""
        done = subprocess.run(["scontrol", "requeue", name], capture_output=True, text=True, check=False)
        if done.returncode:
            log.warning(f"SLURM does not put the job back into the queue: {done.stderr.strip()}")
            return
        log.info(f"job {name} is back in the queue and will go on from its last checkpoint")
    # A process that leaves before the others would have them ended before they are through.
    time.sleep(_REQUEUE_SECONDS)
