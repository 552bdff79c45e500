"""Sweeps: checked before the first job, each job in a folder named by what sets it apart, summed up at the end.

The folders are the memory: a job whose metrics.json is there is finished, one with a last.ckpt is resumed, any other is
started. So it makes no difference which launcher runs the jobs, in which process, or how often.
"""

import itertools
import json
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from imgclf import distributed
from imgclf.build import build, frozen
from imgclf.check import check
from imgclf.errors import InputError, Refused, explanation, say
from imgclf.job import isolated, refuse_changes
from imgclf.report import write_report
from imgclf.run_folder import RunFolder, write_whole

_begun: "Sweeping | None" = None  # in the process that runs a sweep


class Sweeping(Callback):
    """Hydra's callback for sweeps of a configuration with a node ``sweep``."""

    def __init__(self) -> None:
        self.folder = Path()
        self.jobs: dict[Path, str] | None = None  # folder -> what sets the job apart; None for a search
        self.settings: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {}  # launchers send callbacks to other processes, where this one has nothing to do

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check all points that are known, build what they describe, and write sweep.json.

        Raises:
            Refused: something is wrong; no job was started.
        """
        try:
            self._begin(config)
        except Exception as error:
            raise Refused(error) from error

    def _begin(self, config: DictConfig) -> None:
        global _begun
        if distributed.started_from_outside():
            raise InputError("torchrun or SLURM would run the whole sweep in each process: start it once, without them")
        for key, good in (("on_error", ("continue", "stop")), ("seeds", range(1, 1000))):
            if config.sweep[key] not in good:
                raise InputError(f"sweep.{key}={config.sweep[key]}: expected one of {', '.join(map(str, good[:3]))}")
        HydraConfig.instance().set_config(config)  # the sweep's folder may be named after choices
        with read_write(config.hydra), open_dict(config):
            self.folder, self.settings = Path(config.hydra.sweep.dir).absolute(), config.sweep
            if (self.folder / "sweep.json").exists() and config.sweep.resume is None:
                raise InputError(
                    f"{self.folder} holds a sweep already: go on with it by sweep.resume={self.folder}, or choose "
                    "another hydra.sweep.dir"
                )
            given = _parsed(config.hydra.overrides.task)
            params = config.hydra.sweeper.get("params") or {}
            for name in {override.key_or_group for override in given} & {str(n).lstrip("+~") for n in params}:
                for spelled in [n for n in params if str(n).lstrip("+~") == name]:
                    del params[spelled]  # what an experiment sweeps over is a default; Hydra would multiply by it
            fixed = [override.key_or_group for override in given if not override.is_sweep_override()]
            config.hydra.sweep.dir = str(self.folder)
            config.hydra.overrides.hydra += [  # of which Hydra makes the jobs' configurations
                f"hydra.sweep.dir={quoted(str(self.folder))}",
                f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(quoted, fixed))}]",
            ]
            _seed_sampler(config)
        if str(config.hydra.sweeper._target_).endswith(".BasicSweeper"):
            self.jobs = self._checked(config, given, params)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / ".stop").unlink(missing_ok=True)
        about = {"arguments": sys.argv[1:], "directory": str(Path.cwd())}  # gone on with, too: it may have become more
        write_whole(self.folder / "sweep.json", json.dumps(about, indent=2) + "\n")
        if self.jobs is not None:
            done = sum(RunFolder(folder).metrics_file.exists() for folder in self.jobs)
            print(f"sweep of {len(self.jobs)} jobs ({done} finished before) in {self.folder}", flush=True)
        _begun = self

    def _checked(self, config: DictConfig, given: list[Override], params: Any) -> dict[Path, str]:
        """The folders of a grid's jobs; what is wrong with any of them is told before one starts."""
        choices = [_choices(o) for o in [*_parsed([f"{name}={value}" for name, value in params.items()]), *given]]
        fixed = {choice[0] for choice in choices if len(choice) == 1}
        jobs: dict[Path, str] = {}
        seen: dict[str, str] = {}
        problems: dict[str, list[str]] = {}
        built: dict[str, str | None] = {}
        for number, overrides in enumerate(itertools.product(*choices)):
            shown = " ".join(o for o in overrides if o not in fixed) or "(no overrides)"
            try:
                point = _composed(config, overrides, number)
                text = json.dumps(frozen(point) | {"name": None}, sort_keys=True, default=str)
                if text in seen:
                    raise InputError(
                        f"two jobs have the same configuration and would count twice in every average: {seen[text]} "
                        f"and {shown}; leave one of them out"
                    )
                seen[text], folder = shown, RunFolder(point.folder)
                if folder.path in jobs:
                    raise InputError(
                        f"two jobs would share {folder.path}: give each key once, and no hydra.sweep.subdir"
                    )
                jobs[folder.path] = shown
                check(point, "train")
                if folder.metrics_file.exists() or folder.last.exists():
                    refuse_changes(folder, point)
                elif config.sweep.preflight:
                    parts = text.replace(f'"seed": {point.seed}', "")
                    built[parts] = built[parts] if parts in built else _problem(point)
                    if built[parts]:
                        raise InputError(built[parts])
            except InputError as error:
                problems.setdefault(str(error), []).append(shown)
        if problems:
            lines = [f"{p}\nin the job {w[0]}{f' and {len(w) - 1} more' if w[1:] else ''}" for p, w in problems.items()]
            raise InputError("\n".join([*lines, "No job was started."]))
        return jobs


def _parsed(overrides: Any) -> list[Override]:
    texts: Any = OmegaConf.to_container(overrides, resolve=False) if OmegaConf.is_config(overrides) else overrides
    loader = GlobalHydra.instance().config_loader()
    return list(OverridesParser.create(config_loader=loader).parse_overrides(list(texts)))


def _choices(override: Override) -> list[str]:
    """An override's values, each as the sweeper gives it to a job."""
    key = override.get_key_element()
    if override.is_sweep_override():
        return [f"{key}={value}" for value in override.sweep_string_iterator()]
    return [f"{key}={override.get_value_element_as_str()}" if "=" in (override.input_line or "") else key]


def _composed(master: DictConfig, overrides: tuple[str, ...], number: int) -> DictConfig:
    """One job's configuration, with the folder that it is going to have."""
    try:
        config = GlobalHydra.instance().config_loader().load_sweep_config(master, list(overrides))
    except Exception as error:
        raise Refused(error) from error
    with read_write(config.hydra), open_dict(config):
        config.hydra.job.id, config.hydra.job.num = str(number), number
        config.hydra.runtime.output_dir = str(Path(config.hydra.sweep.dir, config.hydra.sweep.subdir))
    HydraConfig.instance().set_config(config)
    plain = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    point = frozen(plain) | {"folder": config.hydra.runtime.output_dir, "sweep": plain.sweep}
    HydraConfig.instance().set_config(master)
    return OmegaConf.create(point)


def _problem(point: DictConfig) -> str | None:
    """Why what a point describes cannot be built; None if it can."""
    try:
        with isolated():
            build(point)
            distributed.process_count(point.trainer)
    except Exception as error:
        return explanation(error) or f"it cannot be built: {type(error).__name__}: {error}"
    return None


def _seed_sampler(config: DictConfig) -> None:
    """A search draws by the run's seed, where its sampler draws at all."""
    warnings.filterwarnings("ignore", message=".*Distribution has been deprecated.*", category=FutureWarning)
    sampler = config.hydra.sweeper.get("sampler")
    if sampler is not None and "seed" in sampler and sampler.seed is None:
        sampler.seed = config.seed
    is_told = any("hydra.sweeper.direction=" in str(o) for o in config.hydra.overrides.hydra)
    if "direction" in config.hydra.sweeper and not config.hydra.runtime.choices.get("search") and not is_told:
        raise InputError(
            f"hydra/sweeper=optuna would make sweep.objective={config.sweep.objective} as small as it can: choose "
            "hydra.sweeper.direction=maximize or minimize, or take search=optuna, which maximises"
        )


def finish() -> int:
    """Print what came of the sweep of this process, if it ran one, and write its report.

    Returns:
        The exit code: 0 where all jobs are finished, otherwise 1.
    """
    global _begun
    if _begun is None:
        return 0
    begun, _begun = _begun, None
    folder, jobs = begun.folder, begun.jobs
    if jobs is None:  # a search
        jobs = {file.parent: file.parent.name for file in sorted(folder.rglob("run.json"))}
    finished = [job for job in jobs if RunFolder(job).metrics_file.exists()]
    if begun.settings.report and finished:
        try:
            say(f"\n{write_report([folder]).text()}")
        except InputError as error:  # the jobs are done; a full disk must not make the sweep a failed one
            later = f"uv run scripts/report.py {shlex.quote(f'sweep={folder}')}"
            print(f"no report: {error}\nto make it later: {later}", file=sys.stderr)
    best = folder / "optimization_results.yaml"  # written by the sweeper at its end
    if best.exists() and "best_params" in (found := yaml.safe_load(best.read_text(encoding="utf-8")) or {}):
        overrides = " ".join(f"{name}={value}" for name, value in found["best_params"].items())
        say(f"\nbest trial: {begun.settings.objective} {found['best_value']:.4f} with {overrides}")
    rest = [job for job in jobs if job not in finished]
    out = sys.stderr if rest else sys.stdout
    print(f"\n{len(finished)} of {len(jobs)} jobs finished: {folder}", file=out, flush=True)
    for job in rest[:20]:
        run = RunFolder(job).read_run()
        state = {"failed": "failed", None: "not begun"}.get(run.get("outcome"), "interrupted")
        why = f"\n               {run['error'].splitlines()[0]}" if state == "failed" and run.get("error") else ""
        print(f"  {state:<11}  {job}  {jobs[job]}{why}", file=out)
    if rest:
        print(f"go on with: uv run scripts/train.py -m {shlex.quote(f'sweep.resume={folder}')}", file=out)
    return 1 if rest else 0


def quoted(value: str) -> str:
    """A text as Hydra takes it on its command line, also with blanks, commas and quotes in it."""
    return "'" + value.replace("'", "\\'") + "'"
