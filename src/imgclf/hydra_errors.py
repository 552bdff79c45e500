"""Errors of Hydra's in the words of this program."""

import contextlib
import re
import sys
from collections.abc import Sequence

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from imgclf.arguments import CONF
from imgclf.errors import Failed, InputError, hint, not_resolved
from imgclf.run_folder import flat

EXTRAS = {"joblib": "joblib", "submitit": "slurm", "ray": "ray", "optuna": "optuna"}


def explained(error: BaseException, config_name: str, given: Sequence[str] | None = None) -> BaseException:
    """An error of Hydra's in the words of this program: the nearest right key or choice where one was mistyped."""
    first = str(error).strip()
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        if choice == "run":  # what a run folder keeps
            return InputError("run: must be given; add run=FOLDER")
        if choice in EXTRAS:
            return InputError(f"{group}={choice} is an extra: uv run --extra {EXTRAS[choice]} scripts/train.py ...")
        options = map(str, error.options or ())
        return InputError(f"{group}={choice}: there is no such choice. {hint(choice, options, f'{group}={{}}')}")
    if (found := re.search(r"Could not (?:override|delete)(?!.*The value of).*?'([^'\s]+?)'", first)) is not None:
        key, typed = found[1].lstrip("+~"), sys.argv[1:] if given is None else given
        known = [known for known in _keys(config_name, key, typed) if known != key]
        remedy = hint(key, known, otherwise="--cfg job lists all.")
        if key.startswith(tuple(f"{text.partition('=')[0]}." for text in typed if "," in text and "[" not in text)):
            remedy += f" If some of the choices have it, give '{key}=choice(VALUE)'."
        return InputError(f"{key}: there is no such key. {remedy} A new one is added by +{key}=VALUE")
    if first.startswith(("No trials are completed", "`Study.stop` is supposed")):  # so Optuna, after a grid the latter
        return Failed("the search has no best trial: all of its trials have failed, or the last of a grid")
    plugin = re.search(r"hydra_plugins\.hydra_(\w+?)_launcher", first)
    if isinstance(error, ImportError) and plugin is not None and (extra := EXTRAS.get(plugin[1])):
        return InputError(f"hydra/launcher={plugin[1]} is an extra: uv run --extra {extra} scripts/train.py ...")
    lines = [line for line in first.splitlines() if line.strip() and not line.startswith(("Error parsing", "See http"))]
    if isinstance(error, OverrideParseException):
        what = "this cannot be read" if lines[0].startswith("Lexer") else lines[0]
        forms = "\"KEY='VALUE'\", of a list each entry by itself, \"KEY=['A','B']\""
        return InputError(f"{error.override}: {what}; write KEY=VALUE, odd characters quoted: {forms}")
    if isinstance(error, OmegaConfBaseException):
        return not_resolved(error)
    if isinstance(error, HydraException) or type(error) is ValueError:  # what Hydra says of combinations of its flags
        cause = str(error.__cause__ or "").partition("\n")[0]
        return InputError("\n".join([*lines, *([cause] if cause not in first else [])]))
    if isinstance(error, OSError) and error.filename:
        return InputError(f"{error.filename}: {error.strerror}; choose another one")
    return error


def _keys(config_name: str, without: str, given: Sequence[str]) -> list[str]:
    """All keys, dotted, and groups that the command line could have meant, had it not said ``without``."""
    overrides = [a for a in given if "=" in a and a[:1] != "-" and without not in a and ("," not in a or "=[" in a)]
    groups = [str(path.relative_to(CONF)) for path in CONF.rglob("*") if path.is_dir()]
    GlobalHydra.instance().clear()
    with contextlib.suppress(Exception), hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        keys = flat(OmegaConf.to_container(hydra.compose(config_name, overrides)))
        return [*groups, *{key[: dot.start()] for key in keys for dot in re.finditer(r"\.|$", key)}]
    return groups
