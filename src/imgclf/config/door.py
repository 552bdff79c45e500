"""What happens between a command line and the code that does the work.

Only Hydra is imported here. A typo, a wrong type or a missing folder is answered before torch is loaded.
"""

import contextlib
import importlib
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from imgclf import threads
from imgclf.config import resolvers
from imgclf.config.annotations import show
from imgclf.config.check import check
from imgclf.config.suggest import explain
from imgclf.config.trust import trust_of, trusted_config
from imgclf.errors import InputError, Refused, tell
from imgclf.leaving import leave
from imgclf.provenance import COMMAND
from imgclf.run_folder import RunFolder, making
from imgclf.sweep_folder import SweepFolder

# conf/hydra/launcher/ has a file of a plugin's own name, so that --help finds it and it has comments. Hydra holds it
# against the plugin's types, which is welcome, and warns of it. Here and not in a function: launchers' processes, which
# import this module for the job, compose too.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")

# Hydra's plugin hands Optuna's samplers settings that its newest versions are going to drop.
warnings.filterwarnings("ignore", category=FutureWarning, module=r"optuna\.")

# Arguments that run.py hands over itself, so no config has them.
SUPPLIED = {
    "model": {"optimizer"},
    "trainer": {"callbacks", "logger", "default_root_dir", "enable_checkpointing"},
    "optimizer": {"params"},
}

# Keys that belong to no constructor, which would say what they take.
TOP_LEVEL = {
    "seed": int,
    "name": str,
    "test": bool,
    "retrain_on_all": bool,
    "probabilities": bool,
    "average_flips": bool,
    "checkpoint": str,
    "rows": int,
    "sheet": int,
}

LARGEST_SEED = 2**32 - 1  # that numpy takes

# What the configuration of every run has.
_OF_A_RUN = ("seed", "data", "model", "optimizer", "schedule", "trainer")


def open_door(config_name: str, task: str, config_dir: Path) -> NoReturn:
    """Do what the command line says, as :func:`compose_and_run` does, and end the process."""
    try:
        compose_and_run(config_name, task, config_dir)
    except SystemExit as end:
        leave(end.code)
    leave(0)


def compose_and_run(config_name: str, task: str, config_dir: Path) -> None:
    """Compose the configuration from the command line, check it, run the task.

    Args:
        config_name: file in ``config_dir`` to start from.
        task: ``module:function``, imported only when the configuration is in order; takes the configuration, and
            returns an exit code or None for 0.
        config_dir: folder of the configurations.

    Raises:
        SystemExit: with an exit code other than 0.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        os.environ["IMGCLF_TRACEBACK"] = "1"
    # Hydra then hands its errors over instead of printing them in its own way.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # No process that is started, such as those of a launcher, runs what lies in the working directory in place of ours.
    os.environ["PYTHONSAFEPATH"] = "1"
    command = shlex.join(sys.argv)
    resolvers.register()
    threads.choose_spin()
    try:
        if {"--help", "-h"} & set(sys.argv[1:]):
            _add(_what_help_needs(config_name, config_dir))
        config_name, added = _offer_run_folder(config_name, sys.argv[1:])
        _add(added)
        _add(_of_the_sweep(sys.argv[1:]))
        run = hydra.main(version_base="1.3", config_path=str(config_dir.resolve()), config_name=config_name)
        run(_guarded(task, command))()
    except (Exception, Refused) as raised:
        error = raised.error if isinstance(raised, Refused) else raised
        overrides = [a for a in sys.argv[1:] if not a.startswith("-")]
        explanation = explain(error, overrides, config_dir, config_name)
        if explanation and isinstance(raised, Refused) and raised.where:
            explanation += f"\n{raised.where}"
        sys.exit(tell(error, explanation))
    except KeyboardInterrupt:  # before anything had begun that would have to be told of
        sys.exit(128 + signal.SIGINT)
    finally:
        for folder in reversed(_made):
            with contextlib.suppress(OSError):
                folder.rmdir()  # empty: the command has come to nothing
        _made.clear()


def _add(arguments: list[str]) -> None:
    """Add to the command line, beside what is there of their kind: behind a flag argparse would not know them."""
    places = [i for i, a in enumerate(sys.argv) if i > 0 and "=" in a and not a.startswith("-")]
    place = places[-1] + 1 if places else len(sys.argv)
    sys.argv[place:place] = arguments


# Folders made for a single run's, outermost first.
_made: list[Path] = []


def _guarded(task: str, command: str) -> Callable[[DictConfig], Any]:
    def run(config: DictConfig) -> Any:
        os.environ[COMMAND] = command  # here, which may be in a process that a launcher has started
        is_job = HydraConfig.get().mode == RunMode.MULTIRUN
        if is_job and "sweep" in config:
            return importlib.import_module("imgclf.sweep.job").run_job(config, task)
        try:
            if is_job:
                check_all(config)  # a single run's has been checked before its folder was made
            module, function = task.split(":")
            code = getattr(importlib.import_module(module), function)(config)
        except Exception as error:
            # Leaving here, not through Hydra, which would print a line of its own first.
            sys.exit(tell(error))
        if code:
            sys.exit(code)
        return None

    return run


class CheckBeforeStart(Callback):
    """Checks the composed configuration, then makes the run's folder, which Hydra would do less talkatively.

    Args:
        needs: groups without which there is nothing to do.
    """

    def __init__(self, needs: Sequence[str] = ()) -> None:
        self.needs = needs

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        try:
            self._check(config)
            _made.extend(making(Path(config.hydra.run.dir), "hydra.run.dir"))
        except Exception as error:
            raise Refused(error) from error

    def _check(self, config: DictConfig) -> None:
        HydraConfig.instance().set_config(config)
        keys = [str(key) for key in config if key != "hydra"]
        plain = OmegaConf.masked_copy(config, keys)
        OmegaConf.set_struct(plain, False)
        plain.folder = config.hydra.run.dir  # Hydra has not made it yet
        lacking = [group for group in self.needs if not OmegaConf.is_dict(plain.get(group))]
        if lacking:
            raise InputError(f"{lacking[0]}: must be given; choose one with {lacking[0]}=CHOICE, --help lists them")
        check_all(plain)
        if config.hydra.run.dir == "":
            raise InputError("hydra.run.dir= is empty: give the folder for the run's files, or leave it out")


def check_all(config: DictConfig) -> None:
    """Hold a composed configuration against what the constructors it names take, and its own keys against their type.

    Raises:
        InputError: with a line for each problem.
    """
    for key, kind in TOP_LEVEL.items():
        if key in config and type(config[key]) is not kind:
            example = {int: "1", str: "TEXT", bool: "true or false"}[kind]
            given = OmegaConf.to_container(config[key]) if OmegaConf.is_config(config[key]) else config[key]
            raise InputError(f"{key}={show(given)}: expected {kind.__name__}; write {key}={example}")
    if not 0 <= config.get("seed", 0) <= LARGEST_SEED:
        raise InputError(f"seed={config.seed}: expected 0 or more, and at most {LARGEST_SEED}")
    name = Path(config.get("name", "x"))
    if not name.parts or name.is_absolute() or ".." in name.parts:
        raise InputError(f"name={name if name.parts else ''}: expected a name for logs/runs/NAME, such as name=mine")
    if "trust" in config and not OmegaConf.is_list(config.trust):
        raise InputError(f"trust={config.trust}: expected a list, trust=[{config.trust}]")
    check(config, SUPPLIED)


def _what_help_needs(config_name: str, config_dir: Path) -> list[str]:
    """Hydra composes a configuration to show the help: what must be given stands in for what the user would give.

    Returns:
        Arguments to add to the command line.
    """
    defaults = yaml.safe_load((config_dir / f"{config_name}.yaml").read_text(encoding="utf-8"))["defaults"]
    choices = [(group, choice) for entry in defaults if isinstance(entry, dict) for group, choice in entry.items()]
    for group, choice in choices:
        if choice == "run":
            ConfigStore.instance().store(group=group, name="run", node={})
    return [f"{group}={min((config_dir / group).glob('*.yaml')).stem}" for group, choice in choices if choice == "???"]


def _offer_run_folder(config_name: str, arguments: list[str]) -> tuple[str, list[str]]:
    """Where a run folder is given, let the configuration that it keeps be composed like a file.

    That is ``resume=FOLDER`` or ``rerun=FOLDER`` for training, ``run=FOLDER`` elsewhere.

    Returns:
        The name of the configuration to start from, and arguments to add to the command line.
    """
    given = dict(a.lstrip("+").split("=", 1) for a in arguments if "=" in a)
    keys = [key for key in (("resume", "rerun") if config_name == "train" else ("run",)) if key in given]
    if not keys:
        return config_name, []
    if len(keys) > 1:
        raise InputError(
            "resume=FOLDER goes on with a run, rerun=FOLDER does it again from its start: give one of them"
        )
    folder = RunFolder.existing(given[keys[0]].strip("'\""))
    frozen = trusted_config(folder, trust_of(arguments))
    _require_parts(folder, frozen)
    store = ConfigStore.instance()
    if keys == ["rerun"]:
        _require_it_can_be_done_again(folder, arguments)
    if config_name == "train":
        threads.keep_number(folder.read_run())
        store.store(group="frozen", name="run", node=frozen, package="_global_")
        return keys[0], []
    for group in ("data", "trainer", "callbacks"):
        store.store(group=group, name="run", node=frozen.get(group) or {})
    # Images of another data set, too, are split and drawn by the run's seed.
    return config_name, [] if "seed" in given else [f"seed={frozen['seed']}"]


def _require_parts(folder: RunFolder, frozen: dict[str, Any]) -> None:
    lacking = [key for key in _OF_A_RUN if key not in frozen]
    if lacking:
        raise InputError(
            f"{folder.config_file} lacks {', '.join(lacking)}: it is damaged, or of another version of this program. "
            "Restore it, or train again"
        )


def _require_it_can_be_done_again(folder: RunFolder, arguments: list[str]) -> None:
    """``rerun`` compares with a finished run, and changes nothing about it."""
    changes = [a for a in arguments if ("=" in a or a.startswith("~")) and not a.startswith("-")]
    changes = [a for a in changes if not a.startswith(("rerun=", "trust=", "hydra.run.dir="))]
    if changes or {"-m", "--multirun"} & set(arguments):
        raise InputError(
            f"rerun={folder.path} does the run again as it was, so {' '.join(changes) or '--multirun'} cannot be given "
            "with it, only hydra.run.dir=FOLDER; for a changed run give its command, which run.json has, and the change"
        )
    if folder.read_metrics() is None:
        raise InputError(
            f"{folder.path} is not finished, so there is nothing to compare with: continue it with resume={folder.path}"
        )


def _of_the_sweep(arguments: list[str]) -> list[str]:
    """Where ``sweep.resume=FOLDER`` is given, what leads Hydra to that folder, and arguments it was begun with.

    What is not given is as it was: the launcher, the choices of each key, a search's space. A grid with no argument but
    the folder needs none of its own: its jobs are known.
    """
    plain = [a for a in arguments if "=" in a and not a.startswith("-")]
    given = dict(a.split("=", 1) for a in plain)
    if "sweep.resume" not in given or given["sweep.resume"] in ("null", ""):
        return []
    if not {"-m", "--multirun"} & set(arguments):
        raise InputError("sweep.resume goes on with a sweep: add -m")
    path = given["sweep.resume"].strip("'\"")
    folder = SweepFolder.existing(path)
    keys = {_key(a) for a in arguments}
    is_bare = all(name.startswith(("sweep.", "hydra.", "hydra/")) for name in given)
    begun_with = [*folder.hydra_arguments, *([] if is_bare and folder.is_grid else folder.arguments)]
    missing = [a for a in begun_with if _key(a) not in keys]
    if is_bare or missing:
        _require_own(folder)
    return [f"hydra.sweep.dir={given['sweep.resume']}", *missing]


def _key(argument: str) -> str:
    """What an argument is about: ``+a.b=1`` and ``~a.b`` are about ``a.b``."""
    return argument.lstrip("+~").partition("=")[0]


def _require_own(folder: SweepFolder) -> None:
    """Arguments taken from a file can start programs, by a launcher's settings or a class of someone's choice."""
    if not folder.is_own:
        raise InputError(
            f"{folder.file} is not one of your own sweeps', and its arguments could run anything here. If you have "
            f"read them and want them, give them yourself: {shlex.join([*folder.hydra_arguments, *folder.arguments])}"
        )
