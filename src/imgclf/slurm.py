"""The batch system above a run's processes: SLURM, by itself or through submitit.

It announces by a signal that it takes the machine away. A run that has saved by then is put back into the queue,
started anew with the same command, and goes on in its folder.
"""

import logging
import os
import signal
import subprocess
import time

log = logging.getLogger(__name__)


def slurm_tasks() -> int:
    """How many processes SLURM has started for this step of its job: 1 outside of srun."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def is_restarted() -> bool:
    """Whether SLURM has put this job back into its queue, and started it again."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0


def job_signals() -> tuple[signal.Signals, ...]:
    """Those by which a batch system announces the end (job scripts USR1, submitit USR2); none outside of one."""
    is_batch = bool(os.environ.keys() & {"SLURM_JOB_ID", "SUBMITIT_EXECUTOR"})
    return (signal.SIGUSR1, signal.SIGUSR2) if is_batch else ()


def queue_again(signum: int) -> None:
    """Put this batch job, whose end that signal announced, back into the queue; returns only where that fails.

    Raises:
        SystemExit: by submitit, which puts its jobs back itself and counts how often.
    """
    if callable(signal.getsignal(signum)):
        try:
            signal.raise_signal(signum)
        except subprocess.CalledProcessError:  # its scontrol may be ended together with the job that it has queued
            time.sleep(60)
        return
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit would have it ignored
    name = os.environ.get("SLURM_ARRAY_JOB_ID", os.environ["SLURM_JOB_ID"])
    name += f"_{os.environ['SLURM_ARRAY_TASK_ID']}" if "SLURM_ARRAY_TASK_ID" in os.environ else ""
    done = subprocess.run(["scontrol", "requeue", name], capture_output=True, text=True, check=False)
    if done.returncode:
        log.warning(f"SLURM does not put the job back into the queue: {done.stderr.strip()}")
        return
    log.info(f"job {name} is back in the queue and will go on from its last checkpoint")
    time.sleep(60)  # for the end: a process that leaves before would have the others ended before they are through
