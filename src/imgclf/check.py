"""A composed configuration held against the signatures of the classes that it names, before any image is read."""

import inspect
import json
import logging
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from imgclf.errors import InputError, nearest

# Arguments that the program hands over itself, so no configuration has them.
_SUPPLIED = {
    "model": {"optimizer"},
    "trainer": {"callbacks", "logger", "default_root_dir", "enable_checkpointing"},
    "optimizer": {"params"},
}
_HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}
_UNDECIDED = ("needs_python_object", "enum")  # the latter may be given by name, as torchvision's weights
_LONGEST = 200  # letters of what is expected
logging.getLogger("hydra.utils").disabled = True  # get_object would print what it raises too


class Sweep(TypedDict):
    """The keys of ``sweep`` in conf/train.yaml, which tells what they mean."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    on_error: Literal["continue", "stop"]
    preflight: bool
    resume: str | None
    report: bool
    objective: str
    seeds: Annotated[int, Field(ge=1)]


Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what numpy takes
_GROUPS = {"data": dict, "model": dict, "optimizer": dict, "schedule": dict, "trainer": dict}
# The top-level keys that each script reads.
_OF_A_RUN: dict[str, Any] = {"name": str, "run": str, "trust": list[str], "seed": Seed, "average_flips": bool}
_OF_A_RUN |= {"checkpoint": Literal["best", "last"]}
KEYS: dict[str, dict[str, Any]] = {
    "train": {
        **_GROUPS,
        **{"callbacks": dict, "logger": dict, "seed": Seed, "name": str, "test": bool, "retrain_on_all": bool},
        **{"sweep": Sweep, "resume": str, "rerun": str, "trust": list[str]},
    },
    "evaluate": {**_OF_A_RUN, "data": dict, "trainer": dict, "callbacks": dict},
    "predict": {
        **_OF_A_RUN,
        **{"data": dict, "trainer": dict, "callbacks": dict, "probabilities": bool, "images": str | None},
        **{"sheet": Annotated[int, Field(ge=1)], "rows": Annotated[int, Field(ge=0)]},
    },
    "report": {
        **{"name": str, "sweep": str | list[str] | None, "diff": list[str] | None, "out": str | None},
        **{"sort": str | None, "rows": Annotated[int, Field(ge=1)]},
    },
    "figures": {**_GROUPS, **_OF_A_RUN, "callbacks": dict, "figure": dict},
    "benchmark": {"name": str, "benchmark": dict},
}


def check(config: DictConfig, script: str) -> None:
    """Hold a configuration against the constructors it names; it stays as it is.

    Args:
        config: composed.
        script: whose keys it may have, one of ``KEYS``.

    Raises:
        InputError: with a line for each problem, which begins with the full key: a key that is no parameter or that
            nothing reads, a required one without value, a value that does not fit the annotation, an interpolation
            that leads nowhere, a target that cannot be imported.
    """
    supplied = {f"{node}.{name}" for node, names in _SUPPLIED.items() for name in names}
    raw = OmegaConf.to_container(config)
    try:
        problems = [
            f"{key}=???: must be given; write {key}=VALUE"
            for key in sorted(OmegaConf.missing_keys(config))
            if key not in supplied and (script != "figures" or key.startswith("figure"))
        ]
        plain = OmegaConf.to_container(config, resolve=True)
    except (OmegaConfBaseException, ValueError) as error:
        raise InputError(f"{getattr(error, 'full_key', None) or 'the configuration'}: {_first(error)}") from error
    assert isinstance(plain, dict)
    own = {str(key): value for key, value in plain.items() if key != "folder"}
    problems += _top_level(own, KEYS[script], json.dumps(raw, default=str) + str(HydraConfig.instance().cfg))
    problems += [f"{key}: must be given: {key}=CHOICE" for key in _GROUPS if script == "train" and key not in own]
    problems += _problems(plain, "", complete=True)
    if problems:
        raise InputError("\n".join(dict.fromkeys(problems)))


def _first(error: BaseException) -> str:
    """The first line of what began it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _top_level(values: Mapping[str, Any], known: Mapping[str, Any], text: str) -> Iterator[str]:
    for key, value in values.items():
        if key not in known:
            if re.search(rf"\$\{{{re.escape(key)}[}}.[]", text) is None:
                near = nearest(key, known)
                yield f"{key}={_show(value)}: nothing reads this key. " + (
                    f"Did you mean {near}?" if near else f"There are {', '.join(known)}; or refer to it by ${{{key}}}"
                )
        elif (wrong := _mismatch(value, known[key])) is not None and value != "???":
            yield f"{key}={_show(value)}: {wrong}"


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
        parameters, takes_any = _parameters(get_object(target))
    except Exception as error:  # whatever a module raises when it is imported
        yield f"{path}._target_={target}: it cannot be imported: {_first(error)}"
        return
    supplied = _SUPPLIED.get(path, set())
    given = {name: value for name, value in node.items() if name not in _HYDRA_KEYS}
    for name, value in given.items():
        full = f"{path}.{name}"
        if name in supplied and value != "???":
            yield f"{full}: the program gives it itself; leave it out"
        elif name in parameters:
            parameter = parameters[name]
            wrong = _mismatch(value, parameter.annotation, parameter.default)
            if wrong is not None and name not in supplied and value != "???":
                yield f"{full}={_show(value)}: {wrong}"
        elif not takes_any:
            near = nearest(name, parameters)
            remedy = f"Did you mean '{path}.{near}'?" if near else f"It takes: {', '.join(parameters) or 'nothing'}"
            yield f"{full}={_show(value)}: {target} has no parameter {name!r}. {remedy}"
    if complete:
        by_place = len(node.get("_args_") or ())
        ahead = [name for name, parameter in parameters.items() if parameter.has_place][:by_place]
        for name, parameter in parameters.items():
            if parameter.required and name not in {*given, *ahead, *supplied}:
                yield f"{path}.{name}: {target} needs it; add it: +{path}.{name}=VALUE"


@dataclass(frozen=True)
class _Parameter:
    annotation: Any
    default: Any
    required: bool
    has_place: bool  # can be given by ``_args_``


def _parameters(target: Any) -> tuple[dict[str, _Parameter], bool]:
    """What a class or function can be given by name, and whether it takes any name.

    What a class of this package passes on as ``**kwargs`` its bases take; a decorator may add names of its own.
    """
    sources = [target]
    if inspect.isclass(target) and target.__module__.startswith(f"{__package__}."):
        sources = [vars(c)["__init__"] for c in target.__mro__[:-1] if "__init__" in vars(c)] or [target]
    elif hasattr(target, "__wrapped__"):
        sources = [inspect.unwrap(target), target]
    found: dict[str, _Parameter] = {}
    is_wrapped, open_ended = hasattr(target, "__wrapped__"), []
    for source in sources:
        try:
            signature = inspect.signature(source, follow_wrapped=source is not target or len(sources) == 1)
        except (TypeError, ValueError):  # of C, which does not tell
            return found, True
        scope = getattr(source, "__globals__", None) or vars(sys.modules[source.__module__])
        parameters = list(signature.parameters.values())[inspect.isclass(target) and source is not target :]  # self
        for p in parameters:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                # A class may itself hand on what its base asks for.
                required = p.default is p.empty and source is sources[0]
                place = p.kind is p.POSITIONAL_OR_KEYWORD
                found.setdefault(p.name, _Parameter(_annotation(p, scope), p.default, required, place))
        open_ended.append(any(p.kind is p.VAR_KEYWORD for p in parameters))
        if not open_ended[-1] and not is_wrapped:
            break
    return found, open_ended[0 if is_wrapped else -1]  # what a decorator takes it hands on


def _annotation(parameter: inspect.Parameter, scope: dict[str, Any]) -> Any:
    annotation = parameter.annotation
    if isinstance(annotation, str):
        try:
            return eval(annotation, scope)
        except Exception:
            return Any
    return Any if annotation is inspect.Parameter.empty else annotation


def _mismatch(value: Any, annotation: Any, default: Any = inspect.Parameter.empty) -> str | None:
    """Why a plain value does not fit an annotation, in pydantic's words; None if it does, or nobody can tell.

    Values are read as JSON, where a list may become a tuple and a text a path, but "1" is no number.
    """
    if type(value) is type(default) and value == default:
        return None  # whatever the annotation says (size: int = None)
    if isinstance(value, dict) and "_target_" in value:
        return None  # stands for what is made of it
    try:
        adapter = TypeAdapter(annotation, config=_CONFIG)
    except Exception:
        try:  # a TypedDict brings its own settings
            adapter = TypeAdapter(annotation)
        except Exception:
            return None
    try:
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        found = [e for e in error.errors(include_url=False) if e["type"] not in _UNDECIDED]
        said = [(".".join(map(str, e["loc"])) + ": " if annotation is Sweep else "") + e["msg"] for e in found]
        return " or ".join(dict.fromkeys(said))[:_LONGEST] or None
    except (TypeError, ValueError):
        return None
    return None


_CONFIG = ConfigDict(arbitrary_types_allowed=True)


def _show(value: Any) -> str:
    """A value as it is written on the command line."""
    text = value if isinstance(value, str) else json.dumps(value, default=str).replace('"', "")
    return text if len(text) <= 60 else f"{text[:57]}..."
