"""When Hydra begins a sweep."""

import contextlib
import os
import sys
import warnings
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.experimental.callback import Callback
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from imgclf import ranks
from imgclf.config.check import check
from imgclf.config.command_line import hydra_overrides, task_overrides
from imgclf.config.suggest import EXTRAS
from imgclf.errors import InputError, Refused
from imgclf.sweep.finish import finish
from imgclf.sweep.jobs import Jobs
from imgclf.sweep.plan import Plan
from imgclf.sweep.points import grid
from imgclf.sweep.settings import Settings
from imgclf.sweep_folder import SweepFolder

# What torchrun tells the processes that it starts.
_OF_TORCHRUN = {
    *(f"{of}{what}" for of in ("", "LOCAL_", "GROUP_", "ROLE_") for what in ("RANK", "WORLD_SIZE")),
    *("ROLE_NAME", "MASTER_ADDR", "MASTER_PORT"),
}


class Sweeping(Callback):
    """Hydra's callback for sweeps of a configuration with a node ``sweep``: checks first, goes on, sums up."""

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._open = contextlib.ExitStack()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # launchers send callbacks to other processes, where this one has nothing to do

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check all points that are known and have Hydra's sweeper find a launcher that knows which jobs remain.

        Raises:
            Refused: something is wrong; nothing was written.
        """
        try:
            self._begin(config)
        except Exception as error:
            raise Refused(error) from error

    def _begin(self, config: DictConfig) -> None:
        if ranks.started_from_outside():
            _leave_it_to_the_first()
        _let_the_command_line_win(config)
        HydraConfig.instance().set_config(config)  # the sweep's folder may be named after choices
        _require_launcher(config)
        settings = _settings(config)
        folder = _folder(config, settings)
        self._plan = plan = Plan(config, folder, settings)
        points = grid(config)
        if points is not None:
            plan.as_before = points == [()] and bool(folder.jobs)
            plan.check([job.overrides for job in folder.jobs] if plan.as_before else points, once_each=True)
        else:
            _prepare_search(config, settings, done=len(folder.jobs))
        self._open.enter_context(folder.held())
        plan.record(is_grid=points is not None)
        self._open.enter_context(_passing_through(plan))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Sum up, and end the process with the exit code of the whole sweep."""
        assert self._plan is not None
        code = finish(self._plan)
        self._open.close()
        if code:
            sys.exit(code)


def _leave_it_to_the_first() -> None:
    """Of the processes that torchrun has started on a machine, one runs the sweep, each job with processes of its own.

    Raises:
        SystemExit: with code 0, in all others.
        InputError: they are SLURM's, or on several machines.
    """
    machines = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
    if "TORCHELASTIC_RUN_ID" not in os.environ or machines > 1:
        raise InputError(
            "several processes were started from outside, by SLURM or on several machines, and each would run the "
            "whole sweep: start it once, with hydra/launcher=submitit_slurm for several machines a job"
        )
    if int(os.environ["LOCAL_RANK"]) > 0:
        sys.exit(0)
    for name in list(os.environ):
        if name in _OF_TORCHRUN or name.startswith("TORCHELASTIC_"):
            del os.environ[name]  # else each job would take itself for one of these processes


def _let_the_command_line_win(config: DictConfig) -> None:
    """What an experiment sweeps over is a default; Hydra would multiply it by what the command line says instead."""
    params = config.hydra.sweeper.get("params")
    if not params:
        return
    given = {_key(override) for override in task_overrides(config.hydra)}
    with read_write(config), open_dict(config):
        for name in [name for name in params if _key(str(name)) in given]:
            del params[name]


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _settings(config: DictConfig) -> Settings:
    for override in task_overrides(config.hydra):
        name, _, value = override.partition("=")
        if name.startswith("sweep.") and name != "sweep.resume" and "," in value:
            raise InputError(f"{override}: how a sweep runs cannot itself be swept; give {name} one value")
    check(OmegaConf.create({"sweep": OmegaConf.to_container(config.sweep)}))
    settings = Settings(**{str(k): v for k, v in config.sweep.items() if k != "_target_"})
    if settings.seeds < 1:
        raise InputError(f"sweep.seeds={settings.seeds}: expected 1 or more")
    return settings


def _require_launcher(config: DictConfig) -> None:
    if config.hydra.launcher._target_ not in Plugins.instance().class_name_to_class:
        name = config.hydra.runtime.choices["hydra/launcher"]
        extra = EXTRAS.get(f"hydra/launcher/{name}", name)
        raise InputError(
            f"hydra/launcher={name} is not installed: uv run --extra {extra} scripts/train.py ..., or leave it out to "
            "run one job after the other"
        )
    # Under uv run Ray would copy the working directory, images and all, and have the jobs run in the copy.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # jobs are not to wait for whatever else runs on the machine
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # what a job prints is not to be left out for looking like another's


def _prepare_search(config: DictConfig, settings: Settings, done: int) -> None:
    """Have a search look in the right direction, and elsewhere when it is gone on with.

    Args:
        config: of the whole sweep.
        settings: how it runs.
        done: jobs so far.
    """
    if "direction" not in config.hydra.sweeper:
        return  # not Optuna's
    given = [a for a in hydra_overrides(config.hydra) if a.startswith("hydra.sweeper.direction=")]
    if not given and config.hydra.runtime.choices.get("search") is None:
        raise InputError(
            f"hydra/sweeper=optuna would make sweep.objective={settings.objective} as small as it can: choose "
            "hydra.sweeper.direction=maximize or minimize, or take search=optuna, which maximises"
        )
    # Its adapter to Hydra speaks of distributions by their former names.
    warnings.filterwarnings("ignore", message=".*Distribution has been deprecated.*", category=FutureWarning)
    sampler = config.hydra.sweeper.get("sampler")
    if done and sampler is not None and sampler.get("seed") is not None:  # with it the same points would be drawn again
        with read_write(sampler):
            sampler.seed += done


def _folder(config: DictConfig, settings: Settings) -> SweepFolder:
    if settings.resume is not None:
        return SweepFolder.existing(config.hydra.sweep.dir)
    folder = SweepFolder(config.hydra.sweep.dir)
    if folder.file.exists():
        raise InputError(
            f"{folder.path} holds a sweep already: go on with it by sweep.resume={folder.path}, "
            "or choose another hydra.sweep.dir"
        )
    return folder


@contextlib.contextmanager
def _passing_through(plan: Plan) -> Any:
    """Whatever sweeper and launcher are chosen, every sweeper asks this for its launcher."""
    plugins = Plugins.instance()
    of_hydra = plugins.instantiate_launcher
    validate = Sweeper.validate_batch_is_legal

    def instantiate_launcher(**arguments: Any) -> Jobs:
        return Jobs(of_hydra(**arguments), plan)

    plugins.instantiate_launcher = instantiate_launcher  # type: ignore[method-assign,assignment]
    # It composes every point, which has been done: a tenth of a second for each.
    Sweeper.validate_batch_is_legal = lambda self, batch: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        plugins.instantiate_launcher = of_hydra  # type: ignore[method-assign]
        Sweeper.validate_batch_is_legal = validate  # type: ignore[method-assign]
