"""What is typed behind a script, as Hydra takes it."""

import json
import os
import re
import shlex
from pathlib import Path

import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from imgclf import threads
from imgclf.errors import InputError

CONF = Path(__file__).parents[2] / "conf"
_PATHS = ("run", "resume", "rerun", "sweep.resume", "images")  # keys whose values are quoted for whoever types them


def arguments(name: str, typed: list[str]) -> tuple[str, list[str]]:
    """The configuration to start from and the arguments as Hydra takes them: flags last, paths quoted, and what a
    folder that they name adds."""
    overrides = [a for a in typed if re.match(r"[+~]{0,2}[\w@./]+(=|$)", a) and ("=" in a or a.startswith("~"))]
    flags = [a for a in typed if a not in overrides]
    given = {a.partition("=")[0].lstrip("+"): a.partition("=")[2].strip("'\"") for a in overrides}
    overrides = [_path_quoted(a) for a in overrides]
    for group, value in given.items():
        if group in ("hydra.run.dir", "hydra.sweep.dir") and not value:
            raise InputError(f"{group}= is empty: give the folder, or leave it out")
        if not (CONF / group).is_dir():
            continue
        if value == "null" or value.startswith("{"):
            choices = ", ".join(sorted(file.stem for file in (CONF / group).glob("*.yaml")))
            raise InputError(f"{group}={value}: there is no such choice. There are {choices}")
        if sum(a.lstrip("+").startswith(f"{group}=") for a in overrides) > 1:
            chosen = ",".join(
                a.partition("=")[2].strip("[]") for a in overrides if a.lstrip("+").startswith(f"{group}=")
            )
            raise InputError(f"{group} is chosen twice; to have all: '{group}=[{chosen}]'")
    is_sweep = bool({"-m", "--multirun"} & set(flags))
    if is_sweep and name != "train":
        raise InputError(f"scripts/{name}.py does one thing at a time: leave -m out")
    if {"--help", "-h"} & set(flags):
        return name, overrides + _what_help_needs(name) + flags
    if given.get("sweep.resume") not in (None, "", "null"):
        return name, _of_the_sweep(given["sweep.resume"], flags, overrides, is_sweep=is_sweep)
    folder_keys = [key for key in (("resume", "rerun") if name == "train" else ("run",)) if key in given]
    if not folder_keys:
        return name, overrides + flags
    if len(folder_keys) > 1 or is_sweep or (folder_keys == ["resume"] and "hydra.run.dir" in given):
        other = "rerun=" if len(folder_keys) > 1 else "-m" if is_sweep else "hydra.run.dir="
        raise InputError(f"{folder_keys[0]}={given[folder_keys[0]]} means one run in one folder: leave {other} out")
    return _of_the_run(name, folder_keys[0], given, flags, overrides)


def _of_the_run(
    name: str, key: str, given: dict[str, str], flags: list[str], overrides: list[str]
) -> tuple[str, list[str]]:
    """Have the configuration that a run folder keeps composed like a file of conf/."""
    from imgclf.run_folder import RunFolder

    folder = RunFolder.existing(given[key])
    trust = [word for word in re.split(r"[\[\],\s'\"]+", given.get("trust", "")) if word]
    if name == "train":
        threads.keep_number(folder.read_run())
    from imgclf.trust import read_run_config  # torch with it

    frozen = read_run_config(folder, trust)
    lacking = [part for part in ("seed", "data", "model", "optimizer", "schedule", "trainer") if part not in frozen]
    if lacking:
        raise InputError(f"{folder.config_file} lacks {', '.join(lacking)}: restore it, or train again")
    if key == "rerun":
        changes = [a for a in overrides if not a.startswith(("rerun=", "trust=", "hydra.run.dir="))]
        if changes or folder.read_metrics() is None:
            why = f"leave {' '.join(changes)} out" if changes else "it is not finished: continue it with resume="
            raise InputError(f"rerun={folder.path} does a finished run again as it was and compares: {why}")
    store = ConfigStore.instance()
    if name == "train":
        store.store(group="frozen", name="run", node=frozen, package="_global_")
        return key, overrides + flags
    for group in ("data", "trainer", "callbacks"):
        store.store(group=group, name="run", node=frozen.get(group) or {})
    # Images of another data set, too, are split and drawn by the run's seed.
    return name, overrides + ([] if "seed" in given else [f"seed={frozen['seed']}"]) + flags


def _of_the_sweep(path: str, flags: list[str], overrides: list[str], *, is_sweep: bool) -> list[str]:
    """The arguments that a sweep was begun with, with those given now in their place or behind them."""
    file = Path(path, "sweep.json")
    if not is_sweep:
        raise InputError("sweep.resume goes on with a sweep: add -m")
    if not file.is_file():
        raise InputError(f"{path} is no folder of a sweep, it lacks sweep.json: give the one that the sweep named")
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        arguments, directory = [str(a) for a in about["arguments"]], Path(about["directory"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged ({error}): restore it, or start a new sweep") from error
    keys = {_key(a) for a in overrides}
    is_own = not hasattr(os, "getuid") or file.stat().st_uid == os.getuid()
    if not is_own and "trust" not in keys:  # its launcher could start any program
        raise InputError(
            f"{file} is not yours; if you know that it does no harm, add trust=[]: {shlex.join(arguments)}"
        )
    kept = [a for a in arguments if _key(a) not in {*keys, "sweep.resume", "hydra.sweep.dir"} and a not in flags]
    print(f"sweep: uv run scripts/train.py {shlex.join([*flags, *kept, *overrides])}", flush=True)
    folder = _path_quoted(f"hydra.sweep.dir={Path(path).absolute()}", always=True)
    here = [_path_quoted(f"sweep.resume={Path(path).absolute()}", always=True)]
    overrides = [a for a in overrides if _key(a) not in ("sweep.resume", "trust")] + here
    if directory.is_dir():
        os.chdir(directory)  # relative paths mean what they meant
    flags_kept = [a for a in kept if a.startswith("-") or ("=" not in a and not a.startswith("~"))]
    return [*(a for a in kept if a not in flags_kept), *overrides, folder, *flags_kept, *flags]


def _key(argument: str) -> str:
    """What an argument is about: ``+a.b=1`` and ``~a.b`` are about ``a.b``."""
    return argument.lstrip("+~").partition("=")[0]


def _path_quoted(argument: str, *, always: bool = False) -> str:
    key, found, value = argument.partition("=")
    if not found or (key not in _PATHS and not always) or value[:1] in ("'", '"', "") or value == "null":
        return argument
    value = re.sub(r"(\\+)(?='|$)", r"\1\1", value).replace("'", r"\'")  # elsewhere a backslash is one
    return f"{key}='{value}'"


def _what_help_needs(name: str) -> list[str]:
    """Hydra composes a configuration to show the help: what must be given stands in for what the user would give."""
    defaults = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))["defaults"]
    choices = [(group, choice) for entry in defaults if isinstance(entry, dict) for group, choice in entry.items()]
    for group, choice in choices:
        if choice == "run":
            ConfigStore.instance().store(group=group, name="run", node={})
    return [f"{group}={min((CONF / group).glob('*.yaml')).stem}" for group, choice in choices if choice == "???"]


def task_overrides() -> list[str]:
    """What the command line in progress says of the experiment, as typed: references stay such."""
    overrides = OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False)
    assert isinstance(overrides, list)
    # Sweepers escape references that they hand on.
    return [re.sub(r"\\(.)", r"\1", o) if r"$\{" in o else o for o in map(str, overrides)]
