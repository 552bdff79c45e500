"""The end of a sweep: what came of each job, how to go on, the report, the exit code."""

import shlex
import sys

import yaml

from imgclf.errors import InputError
from imgclf.report import write_report
from imgclf.sweep.plan import Plan
from imgclf.sweep_folder import Job, State

_MOST_LISTED = 20  # jobs named one by one


def finish(plan: Plan) -> int:
    """Print what came of the jobs that the command asked for, and write the report.

    Returns:
        The exit code: 0 where all are finished, otherwise 1.
    """
    folder = plan.folder
    states = {job: folder.state(job) for job in plan.asked}
    finished = [job for job, state in states.items() if state == "finished"]
    rest = [job for job in states if job not in finished]
    if plan.settings.report and finished:
        _report(plan)
    sys.stdout.flush()
    out = sys.stderr if rest else sys.stdout
    _say_best(plan)
    print(f"\n{len(finished)} of {len(states)} jobs finished: {folder.path}", file=out)
    if not rest:
        return 0
    for job in rest[:_MOST_LISTED]:
        print(_line(plan, job, states[job]), file=out)
    if len(rest) > _MOST_LISTED:
        print(f"  and {len(rest) - _MOST_LISTED} more", file=out)
    stopped = folder.stopped()
    if stopped:
        print(stopped["why"], file=out)
    print(f"go on with: uv run scripts/train.py -m {shlex.quote(f'sweep.resume={folder.path}')}", file=out)
    return 1


def _say_best(plan: Plan) -> None:
    """The trial that a search likes best, in all the commands that have gone on with it."""
    file = plan.folder.path / "optimization_results.yaml"  # written by the sweeper at its end
    if plan.folder.is_grid or not file.exists():
        return
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    if "best_params" in found:
        overrides = " ".join(f"{name}={value}" for name, value in found["best_params"].items())
        print(f"\nbest trial: {plan.settings.objective} {found['best_value']:.4f} with {overrides}")


def _line(plan: Plan, job: Job, state: State) -> str:
    error = plan.folder.error(job) if state == "failed" else ""
    where = plan.folder.path / job.folder
    return f"  {state:<11}  {where}  {plan.folder.shown(job)}" + (f"\n               {error}" if error else "")


def _report(plan: Plan) -> None:
    """A table of the sweep so far, and pages with pictures in its folder."""
    try:
        report = write_report([plan.folder.path])
    except InputError as error:  # the jobs are done; a full disk must not make the sweep a failed one
        later = f"uv run scripts/report.py {shlex.quote(f'sweep={plan.folder.path}')}"
        print(f"no report: {error}\nto make it later: {later}", file=sys.stderr)
        return
    print(f"\n{report.text()}")
