"""Between Hydra's sweeper and its launcher: only the jobs that remain are launched, each in its own folder."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from imgclf import ranks
from imgclf.interruption import STOPPING, Interrupted, interruptible
from imgclf.sweep import job as job_module
from imgclf.sweep import search
from imgclf.sweep.finish import finish
from imgclf.sweep.plan import Plan
from imgclf.sweep_folder import Job


class Jobs(Launcher):
    """A launcher in front of another.

    Args:
        inner: the chosen launcher, set up.
        plan: the sweep.
    """

    def __init__(self, inner: Launcher, plan: Plan) -> None:
        self.inner = inner
        self.plan = plan

    def setup(self, **arguments: Any) -> None:
        """Nothing: ``inner`` is set up."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run a batch of jobs, but for those that are finished.

        A job that fails is no error here: it says so in its folder, and Hydra's sweeper gets None for it.

        Raises:
            SystemExit: a signal has stopped the sweep.
        """
        batch = [tuple(overrides) for overrides in job_overrides]
        if not self.plan.folder.is_grid:
            return self._launch_trials(batch, initial_job_idx)
        if self.plan.as_before:
            batch = [job.overrides for job in self.plan.folder.jobs]
        return self._launch_batch(batch, initial_job_idx)

    def _launch_trials(self, trials: list[search.Overrides], first_number: int) -> list[JobReturn]:
        settings = self.plan.settings
        seed = int(self.plan.master.seed)
        groups = [search.with_seeds(trial, seed, settings.seeds) for trial in trials]
        self._launch_batch([job for group in groups for job in group], first_number)
        returned = []
        for group, jobs in zip(groups, [self.plan.jobs(group) for group in groups], strict=True):
            runs = [self.plan.folder.folder(job).read_metrics() for job in jobs]
            value = search.result(settings.objective, runs)
            returned.append(JobReturn(overrides=list(group[0]), status=JobStatus.COMPLETED, _return_value=value))
        stopped = self.plan.folder.stopped()
        if stopped:  # sweep.on_error=stop
            sys.exit(finish(self.plan))
        return returned

    def _launch_batch(self, batch: list[search.Overrides], initial_job_idx: int) -> list[JobReturn]:
        jobs = self.plan.jobs(batch)
        folder = self.plan.folder
        todo = [job for job in dict.fromkeys(jobs) if folder.state(job) != "finished"]
        self.plan.announce(jobs, todo)
        try:
            returned = self._launch(todo, initial_job_idx)
        except BaseException as error:
            stopped = folder.stopped()
            if isinstance(error, Interrupted) or (stopped and stopped["signal"]):
                returned = {}  # workers that end on a signal are no news
            else:
                finish(self.plan)
                raise
        stopped = folder.stopped()
        if stopped and stopped["signal"]:
            finish(self.plan)
            sys.exit(128 + stopped["signal"])
        return [returned.get(job) or _returned(job, folder.folder(job).read_metrics()) for job in jobs]

    def _launch(self, jobs: list[Job], first_number: int) -> dict[Job, JobReturn]:
        overrides = [self._overrides(job) for job in jobs]
        returned: list[JobReturn] = []
        # Not so in the fresh interpreters of other launchers; but joblib with n_jobs=1 runs its jobs here, too.
        job_module.in_this_process = True
        if isinstance(self.inner, BasicLauncher):
            # One by one, so that those after a stop are not begun, and each with the number that it was planned with.
            with self._until_signal():
                for job, given in zip(jobs, overrides, strict=True):
                    if self.plan.folder.stopped():
                        break
                    returned += self.inner.launch([given], self.plan.folder.jobs.index(job))
        elif jobs:
            with self._passing_signals_on():
                returned += self.inner.launch(overrides, first_number)
        return dict(zip(jobs, returned, strict=False))

    def _overrides(self, job: Job) -> list[str]:
        places = {"hydra.sweep.dir": str(self.plan.folder.path.absolute()), "hydra.sweep.subdir": job.folder}
        own = [f"{name}={quoted(value)}" for name, value in places.items()]
        own.append(f"sweep.on_error={self.plan.settings.on_error}")
        if self.plan.folder.folder(job).run_file.exists():
            own.append("hydra.output_subdir=null")  # what it was configured with stays
        return [*job.overrides, *own]

    @contextlib.contextmanager
    def _until_signal(self) -> Iterator[None]:
        """For jobs in this process, which take signals themselves while they run."""
        try:
            with interruptible():
                yield
        except Interrupted as stop:
            self.plan.folder.stop(str(stop), stop.signum)

    @contextlib.contextmanager
    def _passing_signals_on(self) -> Iterator[None]:
        """For jobs in other processes: the first signal has them save and stop, a second does not wait for them."""
        folder = self.plan.folder

        def stop(signum: int, frame: FrameType | None) -> None:
            if folder.stopped():
                raise Interrupted(signum)
            name = signal.Signals(signum).name
            folder.stop(f"stopped by {name}", signum)
            print(f"{name}: the running jobs save and stop; another one does not wait for them", file=sys.stderr)

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {s: signal.signal(s, stop) for s in STOPPING}
        if "OMP_NUM_THREADS" not in os.environ:
            os.environ[ranks.SHARED_THREADS] = "1"  # a launcher that sets it means all processes of a job
        try:
            yield
        finally:
            for signum, handler in previous.items():
                signal.signal(signum, handler)


def _returned(job: Job, value: Any) -> JobReturn:
    return JobReturn(overrides=list(job.overrides), status=JobStatus.COMPLETED, _return_value=value)


def quoted(value: str) -> str:
    """A text as Hydra takes it on its command line, also with blanks, commas and quotes in it."""
    return "'" + value.replace("'", "\\'") + "'"
