"""What is typed behind a script, as Hydra takes it."""

import json
import os
import re
import shlex
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from imgclf import threads
from imgclf.distributed import COMMAND, started_from_outside
from imgclf.errors import InputError, say
from imgclf.slurm import is_restarted

CONF = Path(__file__).parents[2] / "conf"
# Keys whose values are quoted for whoever types them.
_PATHS = (
    *("run", "resume", "rerun", "sweep.resume", "hydra.run.dir", "hydra.sweep.dir", "images", "archive", "dir"),
    *("data.dir", "data.file", "data.cache_dir", "init_from", "model.net.weights"),
)


def arguments(name: str, typed: list[str]) -> tuple[str, list[str]]:
    """The configuration to start from and the arguments as Hydra takes them: flags last, paths quoted, and what a
    folder that they name adds."""
    # A shell puts the home folder in place of ~ at the beginning of a word alone.
    overrides, flags = _split([re.sub(r"(?<==)~(?=/)", lambda _: str(Path.home()), argument) for argument in typed])
    given = {key_of(a): a.partition("=")[2].strip("'\"") for a in overrides}
    is_sweep = bool({"-m", "--multirun"} & set(flags))
    swept = [a for a in overrides if is_sweep and ("," in a or "=choice(" in a) and not key_of(a).startswith("hydra.")]
    overrides = [quoted(a) if key_of(a) in _PATHS and a not in swept else a for a in overrides]
    if "folder" in given and name == "train":
        raise InputError("folder: the folder of a run is hydra.run.dir=FOLDER")
    for key, value in given.items():
        if key in ("hydra.run.dir", "hydra.sweep.dir") and not value:
            raise InputError(f"{key}= is empty: give the folder, or leave it out")
        if (CONF / key).is_dir():
            _require_choice(key, [a.partition("=")[2] for a in overrides if key_of(a) == key and not a.startswith("~")])
    if is_sweep and name != "train":
        raise InputError(f"scripts/{name}.py does one thing at a time: leave -m out")
    if {"--help", "-h"} & set(flags):
        # Hydra composes a configuration to show the help, and no run is there yet.
        for group in ("data", "trainer") if name in ("evaluate", "predict") else ():
            ConfigStore.instance().store(group=group, name="run", node={})
        return name, overrides + ["figure=costs"] * (name == "figures") + flags
    named = {"hydra.run.dir", "resume"} & given.keys()
    if name == "train" and started_from_outside() and not is_sweep and not named:
        raise InputError("torchrun or srun start several processes, which need one folder: add hydra.run.dir=FOLDER")
    named |= {"rerun", "hydra.sweep.dir", "sweep.resume"} & given.keys()
    if name == "train" and is_restarted() and COMMAND in os.environ and not named:
        told = "SLURM has started this job anew, and only a folder in its command tells what to go on with"
        raise InputError(f"{told}: add hydra.run.dir=FOLDER, of a sweep hydra.sweep.dir=FOLDER")
    if given.get("sweep.resume") not in (None, "", "null"):
        if not is_sweep:
            raise InputError("sweep.resume goes on with a sweep: add -m")
        return name, _of_the_sweep(given["sweep.resume"], overrides, flags)
    begun = {"train": ("resume", "rerun"), "evaluate": ("run",), "predict": ("run",)}  # export takes a run as it is
    keys = [key for key in begun.get(name, ()) if key in given]
    if not keys:
        return name, overrides + flags
    if len(keys) > 1 or is_sweep or (keys == ["resume"] and "hydra.run.dir" in given):
        other = "rerun=" if len(keys) > 1 else "-m" if is_sweep else "hydra.run.dir="
        raise InputError(f"{keys[0]}={given[keys[0]]} means one run in one folder: leave {other} out")
    groups = [key for key in given if (CONF / key).is_dir()]  # which would put their own values in place of the run's
    if keys == ["resume"] and groups:
        raise InputError(f"resume={given['resume']} keeps its {groups[0]}: give single keys: trainer.accelerator=cpu")
    if keys == ["rerun"]:
        changes = [a for a in overrides if key_of(a) not in ("rerun", "trust", "hydra.run.dir")]
        if changes:
            raise InputError(f"rerun={given['rerun']} does a run again as it was: leave {' '.join(changes)} out")
    return _of_the_run(name, keys[0], given, overrides + flags)


def _split(typed: list[str]) -> tuple[list[str], list[str]]:
    """Overrides, and flags with their values, wherever among them they stand."""
    overrides = [a for a in typed if a[:1] != "-" and ("=" in a or a[:1] == "~")]
    return overrides, [a for a in typed if a not in overrides]


def key_of(argument: str) -> str:
    """What an argument is about: ``+a.b=1`` and ``~a.b`` are about ``a.b``."""
    return argument.lstrip("+~").partition("=")[0]


def quoted(argument: str) -> str:
    """A path as Hydra takes it, also with blanks, commas and quotes in it."""
    key, _, value = argument.partition("=")
    if value[:1] in ("'", '"', "") or value.lower() == "null":
        return argument
    value = re.sub(r"(\\+)(?='|$)", r"\1\1", value).replace("'", r"\'")  # elsewhere a backslash is one
    return f"{key}='{value}'"


def _require_choice(group: str, values: list[str]) -> None:
    for value in values:
        if value == "null" or value.startswith("{"):
            choices = ", ".join(sorted(file.stem for file in (CONF / group).glob("*.yaml")))
            raise InputError(f"{group}={value}: there is no such choice. There are {choices}")
    if len(values) > 1:
        every = ",".join(value.strip("[]") for value in values)
        raise InputError(f"{group} is chosen twice; to have all: '{group}=[{every}]'")


def _of_the_run(name: str, key: str, given: dict[str, str], typed: list[str]) -> tuple[str, list[str]]:
    """Have the configuration that a run folder keeps composed like a file of conf/."""
    from imgclf.run_folder import RunFolder

    folder = RunFolder.existing(given[key])
    if name == "train":
        threads.keep_number(folder.read_run())
    from imgclf.trust import read_run_config  # torch with it

    trust = [word for word in re.split(r"[\[\],\s'\"]+", given.get("trust", "")) if word]
    kept = read_run_config(folder, trust, key if key in ("resume", "rerun") else "use")  # type: ignore[arg-type]
    lacking = [part for part in ("seed", "data", "model", "optimizer", "schedule", "trainer") if part not in kept]
    if lacking:
        raise InputError(f"{folder.config_file} lacks {', '.join(lacking)}: restore it, or train again")
    if key == "rerun" and folder.read_metrics() is None:
        raise InputError(f"rerun={folder.path} is not finished: continue it with resume=")
    store = ConfigStore.instance()
    if name == "train":
        store.store(group="frozen", name="run", node=kept, package="_global_")
        return key, typed
    for group in ("data", "trainer"):
        store.store(group=group, name="run", node=kept.get(group) or {})
    # Images of another data set, too, are split and drawn by the run's seed.
    return name, ([] if "seed" in given else [f"seed={kept['seed']}"]) + typed


def _of_the_sweep(path: str, overrides: list[str], flags: list[str]) -> list[str]:
    """The arguments that a sweep was begun with, with those given now in their place or behind them."""
    file = Path(path, "sweep.json")
    if not file.is_file():
        raise InputError(f"{path} is no folder of a sweep, it lacks sweep.json: give the one that the sweep named")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        begun, directory = [str(a) for a in about["arguments"]], Path(about["directory"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged ({error}): restore it, or start a new sweep") from error
    keys = {key_of(a) for a in overrides}
    changed = {key_of(a) for a in overrides if a not in begun}
    others = tuple(f"{key.replace('/', '.')}." for key in changed & {"hydra/launcher", "hydra/sweeper"})
    is_own = not hasattr(os, "getuid") or file.stat().st_uid == os.getuid()
    if not is_own and "trust" not in keys:  # its launcher could start any program
        raise InputError(f"{file} is not yours; if you know that it does no harm, add trust=[]: {shlex.join(begun)}")
    kept, flags_begun = _split(begun)
    left_out = {*keys, "sweep.resume", "hydra.sweep.dir"}
    kept = [a for a in kept if key_of(a) not in left_out and not key_of(a).startswith(others)]
    flags_kept, is_kept = [], True
    for word in flags_begun:
        is_kept = word not in flags if word[:1] == "-" else is_kept  # a value goes with its flag
        flags_kept += [word] * is_kept
    say(f"sweep: uv run scripts/train.py {shlex.join([*flags, *flags_kept, *kept, *overrides])}")
    here = [quoted(f"{key}={Path(path).absolute()}") for key in ("sweep.resume", "hydra.sweep.dir")]
    if directory.is_dir():
        os.chdir(directory)  # relative paths mean what they meant
    return [*kept, *(a for a in overrides if key_of(a) not in ("sweep.resume", "trust")), *here, *flags_kept, *flags]


def task_overrides() -> list[str]:
    """What the command line in progress says of the experiment, as typed: references stay such."""
    overrides: list[str] = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)  # type: ignore[assignment]
    # Sweepers escape references that they hand on, and blanks in paths.
    escaped = [o for o in map(str, overrides) if r"$\{" in o or (key_of(o) in _PATHS and "='" not in o)]
    return [re.sub(r"\\(.)", r"\1", o) if o in escaped else o for o in map(str, overrides)]
