"""A composed configuration held against the signatures of the classes that it names, before any image is read."""

import importlib.util
import inspect
import json
import logging
import math
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import Field

from imgclf.arguments import CONF
from imgclf.errors import InputError, first_line, hint, not_resolved
from imgclf.ranges import AtLeast1, mismatch
from imgclf.run_folder import RunFolder

# Arguments that the program hands over itself, so no configuration has them.
SUPPLIED = {
    "model": {"optimizer", "loss"},
    "trainer": {"callbacks", "logger", "default_root_dir", "enable_checkpointing"},
    "optimizer": {"params"},
}
HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}
# Keys of the scripts' own files of which the value there does not tell all; elsewhere its type is what is expected.
_OWN: dict[str, Any] = {
    "seed": Annotated[int, Field(ge=0, le=2**32 - 1)],  # what numpy takes
    "checkpoint": Literal["best", "last"],
    "average_flips": bool | None,
    "init_from": str | None,
    "freeze": str | list[str],
    "unfreeze_at_epoch": AtLeast1 | None,
    "format": Literal["onnx", "torch", "safetensors"],
    "sheet": AtLeast1,
    "rows": AtLeast1,
    "sweep.on_error": Literal["continue", "stop"],
    "sweep.seeds": AtLeast1,
}
logging.getLogger("hydra.utils").disabled = True  # get_object would print what it raises too


def check(config: DictConfig, script: str, unresolved: str = "") -> None:
    """Hold a composed configuration against the constructors it names, and its keys against what the script reads.

    ``unresolved``: the text of one that has been resolved since, which tells what refers to what.

    Raises InputError, with a line for each problem, which begins with the full key: a key that is no parameter or that
    nothing reads, a required one without value, a value that does not fit the annotation, an interpolation that leads
    nowhere, a target that cannot be imported.
    """
    raw = unresolved + json.dumps(OmegaConf.to_container(config), default=str) + str(HydraConfig.instance().cfg)
    try:
        supplied = {f"{node}.{name}" for node, names in SUPPLIED.items() for name in names}
        missing = sorted(OmegaConf.missing_keys(config) - supplied)
        plain: Any = OmegaConf.to_container(config, resolve=True)
    except (OmegaConfBaseException, ValueError) as error:
        raise not_resolved(error) from error
    if script == "figures":  # which need not all that a run needs
        missing = [key for key in missing if key.startswith("figure")]
    problems = [f"{key}=???: must be given; write {key}=VALUE" for key in missing]
    begun = config.get("resume") or config.get("rerun") if script == "train" else None  # of which all has been checked
    known = (RunFolder(begun).read_config() if begun else {}) | _known(script)
    problems += _own_keys({key: value for key, value in plain.items() if key != "folder"}, known, "", raw)
    groups = ("data", "model", "optimizer", "schedule", "trainer") if script == "train" else ()
    problems += [f"{key}: must be given: {key}=CHOICE" for key in groups if key not in plain]
    require_arguments(plain, problems)


def require_arguments(config: Any, problems: Iterable[str] = ()) -> None:
    """Refuse a resolved configuration, or a part of one, some of whose targets cannot take what they are given."""
    if found := [*problems, *_problems(config, "", complete=True)]:
        raise InputError("\n".join(dict.fromkeys(found)))


def _known(script: str) -> dict[str, Any]:
    """The keys that a script reads, with their values in its file of conf/; the groups that it chooses from."""
    known: dict[str, Any] = {}
    files = {"train": ("train", "resume", "rerun"), "figures": ("train", "figures")}
    for name in files.get(script, (script,)):
        file = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
        known |= {group: {} for entry in file["defaults"] if isinstance(entry, dict) for group in entry} | file
    elsewhere = {"metrics", "debug", "search", "experiment"}  # where the files of these groups put their keys
    return {key: value for key, value in known.items() if key not in {*elsewhere, "defaults", "hydra", "frozen"}}


def _own_keys(values: dict[str, Any], known: dict[str, Any], path: str, raw: str) -> Iterator[str]:
    for key, value in values.items():
        full = f"{path}{key}"
        if key not in known:
            if value != {} and re.search(rf"\$\{{{re.escape(full)}[}}.[]", raw) is None:
                remedy = hint(key, known, f"{path}{{}}")
                yield f"{full}={_show(value)}: nothing reads this key. {remedy}; or refer to it by ${{{full}}}"
            continue
        default = known[key]
        undecided = default is None or default == "???"
        wrong = _mismatch(value, _OWN.get(full, Any if undecided else type(default)), default)
        if wrong is not None and value != "???":
            yield f"{full}={_show(value)}: {wrong}"
        elif isinstance(default, dict) and "_target_" not in value and default:
            yield from _own_keys(value, default, f"{full}.", raw)


def _problems(node: Any, path: str, *, complete: bool) -> Iterator[str]:
    """Problems of a node and all below it; ``complete``: required arguments have to be there."""
    if isinstance(node, list):
        for place, value in enumerate(node):
            yield from _problems(value, f"{path}[{place}]", complete=complete)
    elif isinstance(node, dict):
        if "_target_" in node:
            yield from _arguments(node, path, complete=complete and node.get("_partial_") is not True)
        complete = complete and node.get("_recursive_") is not False
        for key, value in node.items():
            yield from _problems(value, f"{path}.{key}" if path else str(key), complete=complete)
    elif isinstance(node, float) and not math.isfinite(node):
        yield f"{path}={node}: expected a finite number"


def _arguments(node: dict[str, Any], path: str, *, complete: bool) -> Iterator[str]:
    target = str(node["_target_"])
    try:
        parameters, required, takes_any = arguments_of(get_object(target))
    except Exception as error:  # whatever a module raises when it is imported
        yield f"{path}._target_={target}: it cannot be imported: {first_line(error)}"
        return
    extra = {"WandbLogger": "wandb", "MLFlowLogger": "mlflow"}.get(target.rpartition(".")[2])
    if extra is not None and importlib.util.find_spec(extra) is None:
        yield f"{path}: {extra} is an extra: uv run --extra {extra} scripts/train.py ..."
    supplied = SUPPLIED.get(path, set())
    given = {name: value for name, value in node.items() if name not in HYDRA_KEYS}
    for name, value in given.items():
        full = f"{path}.{name}"
        if value == "???":
            continue  # told, or supplied
        if name in supplied:
            yield f"{full}: the program gives it itself; leave it out"
        elif name in parameters:
            wrong = _mismatch(value, parameters[name].annotation, parameters[name].default)
            if wrong is not None:
                yield f"{full}={_show(value)}: {wrong}"
        elif not takes_any:
            remedy = hint(name, parameters, f"'{path}.{{}}'", f"It takes: {', '.join(parameters) or 'nothing'}")
            yield f"{full}={_show(value)}: {target} has no parameter {name!r}. {remedy}"
    if complete:
        by_place = [p.name for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
        there = {*given, *supplied, *by_place[: len(node.get("_args_") or ())]}
        for name in required:
            if name not in there:
                yield f"{path}.{name}: {target} needs it; add it: +{path}.{name}=VALUE"


def arguments_of(target: Any) -> tuple[dict[str, inspect.Parameter], list[str], bool]:
    """What a class or function can be given by name, what of it is required, and whether it takes any name.

    What a class of this package, or based on one, passes on as ``**kwargs`` its bases take; a decorator, and a class of
    another package, may take names of its own from there.
    """
    sources = [target]
    if is_own := inspect.isclass(target) and any(c.__module__.startswith(f"{__package__}.") for c in target.__mro__):
        sources = [vars(c)["__init__"] for c in target.__mro__[:-1] if "__init__" in vars(c)] or [target]
    found: dict[str, inspect.Parameter] = {}
    required: list[str] = []
    takes_any = False
    for source in sources:
        try:
            signature = inspect.signature(source, eval_str=True)
        except Exception:  # of C, or annotations for type checkers and readers alone: it does not tell
            return found, required, True
        parameters = list(signature.parameters.values())[is_own and source is not target :]  # without self
        for p in parameters:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in found:
                found[p.name] = p.replace(annotation=Any) if p.annotation is p.empty else p
                # A class may itself give what its base asks for, and a decorator what its function does.
                if p.default is p.empty and source is sources[0] and not hasattr(target, "__wrapped__"):
                    required.append(p.name)
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        if source is sources[0]:
            is_shipped = is_own and target.__module__.startswith(f"{__package__}.")
            is_open = hasattr(target, "__wrapped__") or (takes_any and not is_shipped)
        if not takes_any:
            break
    return found, required, takes_any or is_open


def _mismatch(value: Any, annotation: Any, default: Any) -> str | None:
    is_default = type(value) is type(default) and value == default  # right in any case (size: int = None)
    is_node = isinstance(value, dict) and "_target_" in value  # stands for what is made of it
    return None if is_default or is_node else mismatch(value, annotation)


def _show(value: Any) -> str:
    """A value as it is written on the command line."""
    text = json.dumps(value, default=str, ensure_ascii=False).replace('"', "")
    if isinstance(value, str):  # quotes, where it would look like a list
        text = f"'{value}'" if value[:1] in ("[", "{") else value
    return text if len(text) <= 60 else f"{text[:57]}..."
