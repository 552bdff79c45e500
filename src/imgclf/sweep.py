"""Sweeps: checked before the first job, each job in a folder named by what sets it apart, summed up at the end.

The folders are the memory: a job whose metrics.json is there is finished, one with a last.ckpt is resumed, any other is
started. So it makes no difference which launcher runs the jobs, in which process, or how often.
"""

import contextlib
import json
import multiprocessing
import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Transformer
from hydra.experimental.callback import Callback
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from imgclf import distributed
from imgclf.arguments import quoted
from imgclf.build import build, built_trainer, frozen
from imgclf.check import check
from imgclf.errors import InputError, Interrupted, explanation, say, tell
from imgclf.hydra_errors import explained
from imgclf.job import isolated, refuse_changes
from imgclf.log import speak
from imgclf.ranges import smaller_is_better
from imgclf.resuming import decide
from imgclf.run_folder import RunFolder, write_whole
from imgclf.slurm import is_restarted

Jobs = dict[Path, str]  # folder -> what sets the job apart
_begun: tuple[Path, Jobs | None, DictConfig] | None = None  # by this process: folder, jobs (of a grid), settings


class Sweeping(Callback):
    """Hydra's callback for sweeps of a configuration with a node ``sweep``."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check all points that are known, build what they describe, and write sweep.json; else tell why, and exit."""
        try:
            _begin(config)
        except Exception as error:  # of which Hydra would make a warning
            sys.exit(tell(explained(error, "train")))


def _begin(config: DictConfig) -> None:
    global _begun
    if distributed.started_from_outside():
        raise InputError("torchrun or SLURM would run the whole sweep in each process: start it once, without them")
    if any(given.startswith("hydra.run.dir=") for given in config.hydra.overrides.hydra):
        raise InputError("hydra.run.dir is of a single run: the folder of a sweep is hydra.sweep.dir=FOLDER")
    get_class(config.hydra.launcher._target_)  # an extra: Hydra would look for it when the sweep has begun
    HydraConfig.instance().set_config(config)  # the sweep's folder may be named after choices
    folder = Path(config.hydra.sweep.dir).absolute()
    if (folder / "sweep.json").exists() and config.sweep.resume is None and not is_restarted():
        again = shlex.quote(f"sweep.resume={folder}")
        raise InputError(f"{folder} holds a sweep already: go on with it by {again}, or choose another")
    if RunFolder(folder).has_begun:
        raise InputError(f"{folder} is the folder of a run: choose another")
    parse = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader()).parse_overrides
    given = parse(OmegaConf.to_container(config.hydra.overrides.task, resolve=False))  # type: ignore[arg-type]
    with read_write(config.hydra), open_dict(config):
        config.hydra.sweep.dir = str(folder)
        fixed = ",".join(override.key_or_group for override in given if not override.is_sweep_override())
        own = [quoted(f"hydra.sweep.dir={folder}"), f"hydra.job.config.override_dirname.exclude_keys=[{fixed}]"]
        config.hydra.overrides.hydra += own  # of which Hydra makes the jobs' configurations
        _settle_search(config)
    given = parse([f"{name}={value}" for name, value in (config.hydra.sweeper.get("params") or {}).items()]) + given
    jobs, split = None, getattr(get_class(config.hydra.sweeper._target_), "split_arguments", None)
    if split is not None:  # Hydra's own sweeper
        if config.sweep.seeds > 1:
            raise InputError(f"sweep.seeds={config.sweep.seeds} is for a search: for a grid give seed=0,1 and so on")
        swept = {override.get_key_element() for override in given if override.is_sweep_override()}
        jobs = _checked(config, split(given, None)[0], swept)
        done = sum(RunFolder(job).metrics_file.exists() for job in jobs)
        others = [RunFolder(file.parent) for file in folder.glob("*/run.json") if file.parent not in jobs]
        finished = sum(other.metrics_file.exists() for other in others)
        more = f"; {len(others)} others there, of other values or keys, {finished} finished" if others else ""
        say(f"sweep of {len(jobs)} jobs ({done} finished before) in {folder}{more}")
    else:  # a search: what all trials have in common
        point, unresolved = _composed(config, [_first(override) for override in given], 0)
        check(point, "train", unresolved)
    if at_a_time := config.hydra.launcher.get("n_jobs"):
        import joblib

        with read_write(config.hydra):  # it ends all where a process that has no job ends by a signal
            most = len(jobs) if jobs is not None else config.hydra.sweeper.get("n_jobs", 1)
            config.hydra.launcher.n_jobs = min(most, joblib.effective_n_jobs(at_a_time))
    folder.mkdir(parents=True, exist_ok=True)
    for name in (".stop", "optimization_results.yaml"):  # of before
        (folder / name).unlink(missing_ok=True)
    about = {"arguments": sys.argv[1:], "directory": str(Path.cwd())}  # gone on with, too: it may have become more
    write_whole(folder / "sweep.json", json.dumps(about, indent=2) + "\n")
    _begun = folder, jobs, config.sweep


def _first(override: Override) -> str:
    """An override with the first of its values, or that in the middle."""
    if not override.is_sweep_override():
        return str(override.input_line)
    value: Any = override.value()
    if override.is_interval_sweep():  # of which Optuna draws floats, hardly ever an end
        return f"{override.get_key_element()}={(value.start + value.end) / 2}"
    first = next(override.sweep_iterator(transformer=Transformer.encode), None)
    if first is None:
        raise InputError(f"{override.input_line}: there is nothing to choose from")
    return f"{override.get_key_element()}={first}"


def _settle_search(config: DictConfig) -> None:
    """Have a search draw by the run's seed, where its sampler draws at all, and know what is better."""
    warnings.filterwarnings("ignore", message=".*Distribution has been deprecated.*", category=FutureWarning)
    sweeper, hydra = config.hydra.sweeper, config.hydra
    if OmegaConf.is_list(sweeper.get("direction")):
        raise InputError(f"hydra.sweeper.direction={sweeper.direction}: a search has one objective, sweep.objective")
    if "seed" in (sweeper.get("sampler") or {}) and sweeper.sampler.seed is None:
        sweeper.sampler.seed = config.seed
    is_loss = sweeper.get("direction") == "maximize" and smaller_is_better(str(config.sweep.objective))
    is_known = hydra.runtime.choices.get("search") and not is_loss
    if "direction" in sweeper and not is_known and "hydra.sweeper.direction=" not in str(hydra.overrides.hydra):
        told = f"a search by sweep.objective={config.sweep.objective}"
        raise InputError(f"{told}: add hydra.sweeper.direction=minimize or maximize, whichever is better")


def _checked(config: DictConfig, points: list[list[str]], swept: set[str]) -> Jobs:
    """A grid's jobs, each by its overrides; what is wrong with any of them is told before one starts."""
    jobs: Jobs = {}
    seen: dict[str, str] = {}
    problems: dict[str, list[str]] = {}
    here = not config.hydra.launcher._target_.endswith((".SlurmLauncher", ".RayLauncher"))
    for number, overrides in enumerate(points):
        shown = " ".join(override for override in overrides if override.partition("=")[0] in swept) or "(no overrides)"
        point, unresolved = _composed(config, overrides, number)
        text = json.dumps(frozen(point) | {"name": None}, sort_keys=True, default=str)
        folder = RunFolder(point.folder)
        jobs[folder.path] = shown
        try:
            for known, what in ((text, "have the same configuration"), (point.folder, f"would share {folder.path}")):
                if known in seen:
                    raise InputError(f"two jobs {what}: {seen[known]} and {shown}; leave one of them out")
                seen[known] = shown
            decide(point)
            check(point, "train", unresolved)
            if folder.read_metrics() is not None or folder.last.exists():
                refuse_changes(folder, point)
            elif config.sweep.preflight:
                _require_buildable(point, here=here)
        except InputError as error:
            problems.setdefault(str(error), []).append(shown)
    if problems:
        lines = [f"{p}\nin the job {w[0]}{f' and {len(w) - 1} more' if w[1:] else ''}" for p, w in problems.items()]
        raise InputError("\n".join([*lines, "No job was started."]))
    return jobs


def _composed(master: DictConfig, overrides: list[str], number: int) -> tuple[DictConfig, str]:
    """One job's configuration, with the folder that it is going to have; and its text before it was resolved."""
    config = GlobalHydra.instance().config_loader().load_sweep_config(master, overrides)
    with read_write(config.hydra), open_dict(config):
        config.hydra.job.id, config.hydra.job.num = str(number), number
        config.hydra.runtime.output_dir = str(Path(config.hydra.sweep.dir, config.hydra.sweep.subdir))
    own: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=False)
    others: Any = OmegaConf.to_container(master.hydra.sweeper, resolve=False)
    if any(own.get(key) != others.get(key) for key in ("_target_", "params")):
        raise InputError(f"{' '.join(overrides)}: this is a sweep by itself, so no job of another: give it alone")
    HydraConfig.instance().set_config(config)
    plain = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    point = frozen(plain) | {"folder": config.hydra.runtime.output_dir, "sweep": plain.sweep}
    HydraConfig.instance().set_config(master)
    return OmegaConf.create(point), str(plain)


def _require_buildable(point: DictConfig, *, here: bool) -> None:
    """Refuse what cannot be built; a Trainer is only tried where jobs run on this machine."""
    try:
        with isolated():
            speak(None)
            *_, callbacks = build(point)
            if here:
                warnings.simplefilter("ignore")  # the jobs will say it
                distributed.process_count(point.trainer)
                built_trainer(point, callbacks=callbacks, logger=False)
    except Exception as error:
        raise InputError(explanation(error) or f"it cannot be built: {type(error).__name__}: {error}") from error


def stop_jobs(signum: int) -> None:
    """Have jobs in processes of joblib's save and stop, and wait for that: it would kill them at once."""
    if _begun is None or not (workers := multiprocessing.active_children()):
        return
    (_begun[0] / ".stop").touch()  # for those that have not begun
    with distributed.interruptible(once_more=True):
        for worker in workers:
            os.kill(worker.pid, signum)  # type: ignore[arg-type]
        for lock in _begun[0].rglob(".lock"):
            with RunFolder(lock.parent).lock(-1):
                pass


def finish() -> int:
    """Print what came of the sweep of this process, if it ran one, and write its report; 0 if all jobs are finished."""
    global _begun
    if _begun is None:
        return 0
    (folder, jobs, settings), _begun = _begun, None
    if jobs is None:
        jobs = {file.parent: file.parent.name for file in sorted(folder.rglob("run.json"))}
    rest = [job for job in jobs if not RunFolder(job).metrics_file.exists()]
    if settings.report and len(rest) < len(jobs):
        from imgclf.report.terminal import write_report  # its libraries take a second

        try:
            say(f"\n{write_report([folder])}", is_kept=True)
        except (InputError, Interrupted) as error:  # the jobs are done; a full disk, say, does not make them fail
            later = f"uv run scripts/report.py {shlex.quote(f'sweep={folder}')}"
            print(f"no report: {error}\nto make it later: {later}", file=sys.stderr)
    best = folder / "optimization_results.yaml"  # written by the sweeper at its end
    if best.exists() and "best_params" in (found := yaml.safe_load(best.read_text(encoding="utf-8")) or {}):
        overrides = shlex.join(f"{name}={value}" for name, value in found["best_params"].items())
        say(f"\nbest trial: {settings.objective} {found['best_value']:.4f} with {overrides}", is_kept=True)
    lost = sum(RunFolder(job).told().get("outcome") == "diverged" for job in jobs)
    diverged = f", {lost} of them diverged" if lost else ""
    lines = [f"\n{len(jobs) - len(rest)} of {len(jobs)} jobs finished{diverged}: {folder}"]
    for job in rest[:20]:
        run = {"outcome": "not begun"} | RunFolder(job).told()
        lines.append(f"  {run['outcome']:<11}  {job}  {jobs[job]}")
        if run.get("error"):
            lines.append(f"               {run['error'].splitlines()[0]}")
    if not rest:
        say(lines[0], is_kept=True)
        return 0
    lines.append(f"go on with: uv run scripts/train.py -m {shlex.quote(f'sweep.resume={folder}')}")
    with contextlib.suppress(OSError):
        print("\n".join(lines), file=sys.stderr)
    return 1
