"""A composed configuration held against the constructors it names, before any of them is imported."""

import copy
import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, Node, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, MissingMandatoryValue, OmegaConfBaseException

from imgclf.config import nearest
from imgclf.config.annotations import expected, mismatch, show
from imgclf.config.signatures import PROJECT, Parameter, Signature, signature
from imgclf.errors import InputError

_HYDRA_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}
_UNKNOWN = object()
_LONGEST_VALUE = 60  # letters of a value in a message


def check(cfg: DictConfig, supplied: Mapping[str, Collection[str]] | None = None, project: str = PROJECT) -> None:
    """Hold every node with a `_target_` against the parameters of that target; `cfg` stays as it is.

    supplied: dotted path of a node (`model`) -> names of arguments that the program gives itself, which may
    be missing or `???` in the configuration; project: top-level package whose targets must exist.

    Raises one InputError with a line for each problem: a key that is no parameter, a required one without
    value, a value whose type does not fit the annotation, `???`, an interpolation that leads nowhere, or a
    target that does not exist. A line begins with the full key, as typed, and ends with the remedy.
    """
    # Resolving fills caches inside the configuration (${now:...}), hence the copy.
    problems = list(_Walk(cfg, supplied or {}, project).node(copy.deepcopy(cfg), "", complete=True))
    if problems:
        raise InputError("\n".join(dict.fromkeys(problems)))


def key_paths(node: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of all keys of a configuration, in its order; lists are not entered."""
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing():
        return
    for key in node.keys():  # noqa: SIM118 -- a DictConfig's own iteration resolves, and may fail
        full = f"{path}.{_text(key)}" if path else _text(key)
        yield full
        inner = node._get_node(key)
        if isinstance(inner, DictConfig) and not inner._is_interpolation():
            yield from key_paths(inner, full)


class _Walk:
    def __init__(self, cfg: DictConfig, supplied: Mapping[str, Collection[str]], project: str) -> None:
        self.cfg = cfg
        self.supplied = supplied
        self.project = project

    def node(self, node: DictConfig | ListConfig, path: str, complete: bool) -> Iterator[str]:
        """Problems of a node and all below it; `complete`: required arguments have to be there."""
        if node._is_none() or node._is_missing():
            return
        raw = _raw(node)
        values: dict[str, Any] = {}
        for name in raw:
            if (path, name) == ("", "hydra"):
                continue
            try:
                values[name] = node[_key(node, name)]
            except (InterpolationToMissingValueError, MissingMandatoryValue):
                values[name] = _UNKNOWN  # reported where the ??? stands
            except Exception as error:  # a resolver may raise anything
                values[name] = _UNKNOWN
                if "HydraConfig was not set" not in str(error):  # ${hydra:...} outside a run cannot be known
                    yield f"{_join(path, name)}={raw[name]}: {self._broken(error)}"
        target = values.get("_target_") if isinstance(node, DictConfig) else None
        found: Signature | None = None
        if isinstance(target, str):
            try:
                found = signature(target, self.project)
            except InputError as error:
                yield f"{_join(path, '_target_')}={error}"
        yield from self._missing(node, values, path, found)
        if found is not None:
            demanding = complete and values.get("_partial_") is not True
            yield from self._arguments(found, values, raw, path, demanding)
        complete = complete and values.get("_recursive_") is not False
        for name, value in values.items():
            is_own = not OmegaConf.is_interpolation(node, _key(node, name))
            if is_own and isinstance(value, DictConfig | ListConfig):
                yield from self.node(value, _join(path, name), complete)

    def _broken(self, error: Exception) -> str:
        """Why an interpolation cannot be resolved, and what it may have meant."""
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        key = re.search(r"Interpolation key '(.+?)' not found", first)
        if key is None:
            return f"{first}. Mend what stands inside ${{...}}"
        near = nearest(key[1], key_paths(self.cfg))
        hint = f"Did you mean '{near}'?" if near else "Mend the name in ${...}"
        return f"there is no key '{key[1]}'. {hint}"

    def _missing(
        self, node: DictConfig | ListConfig, values: Mapping[str, Any], path: str, found: Signature | None
    ) -> Iterator[str]:
        for name in values:
            if OmegaConf.is_missing(node, _key(node, name)) and name not in self.supplied.get(path, ()):
                full = _join(path, name)
                what = _kind(found.parameters.get(name)) if found else "VALUE"
                yield f"{full}=???: must be given; write {full}={what}"

    def _arguments(
        self, found: Signature, values: Mapping[str, Any], raw: Mapping[str, Any], path: str, complete: bool
    ) -> Iterator[str]:
        prefix = f"{path}." if path else ""
        given = {name: value for name, value in values.items() if name not in _HYDRA_KEYS}
        for name, value in given.items():
            parameter = found.parameters.get(name)
            if name in self.supplied.get(path, ()) and raw[name] != "???":
                yield f"{prefix}{name}: the program gives it itself; leave it out"
                continue
            if name not in found.keywords or parameter is None:
                if not found.accepts_any:
                    yield _unknown(found, prefix, name, value, given)
                continue
            plain = _plain(value)
            problem = None if plain is _UNKNOWN else mismatch(plain, parameter) or _not_finite(plain)
            if problem:
                shown = _short(show(plain))
                origin = f" (from {raw[name]})" if isinstance(raw[name], str) and "${" in raw[name] else ""
                yield f"{prefix}{name}={shown}{origin}: {problem}"
        if complete:
            by_place = len(values["_args_"]) if isinstance(values.get("_args_"), ListConfig) else 0
            ahead = [p.name for p in found.parameters.values() if "POSITIONAL" in p.kind.name][:by_place]
            known = {*given, *ahead, *self.supplied.get(path, ())}
            for parameter in found.parameters.values():
                if not parameter.has_default and parameter.name not in known:
                    full = f"{prefix}{parameter.name}"
                    yield f"{full}: {found.target} needs it; add it: +{full}={_kind(parameter)}"


def _key(node: DictConfig | ListConfig, name: str) -> Any:
    """The key as the node holds it: keys of mappings may be numbers."""
    if isinstance(node, ListConfig):
        return int(name)
    return next((key for key in node.keys() if _text(key) == name), name)  # noqa: SIM118


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _text(key: object) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


def _raw(node: DictConfig | ListConfig) -> dict[str, Any]:
    """Key -> value as it is written, interpolations and ??? unresolved."""
    keys: list[Any] = list(range(len(node))) if isinstance(node, ListConfig) else list(node.keys())
    inner = {_text(key): node._get_node(key) for key in keys}
    return {name: value._value() if isinstance(value, Node) else value for name, value in inner.items()}


def _unknown(found: Signature, prefix: str, name: str, value: Any, given: Mapping[str, Any]) -> str:
    plain = _plain(value)
    shown = "" if plain is _UNKNOWN else f"={_short(show(plain))}"
    near = nearest(name, [keyword for keyword in found.keywords if keyword not in given or keyword == name])
    near = near or nearest(name, found.keywords)
    remedy = f"Did you mean '{prefix}{near}'?" if near else f"It takes: {', '.join(found.keywords) or 'nothing'}"
    return f"{prefix}{name}{shown}: {found.target} has no parameter {name!r}. {remedy}"


def _not_finite(value: Any) -> str | None:
    """What is wrong with a value in which a number is infinite or none: nothing here computes with such."""
    if isinstance(value, float) and not math.isfinite(value):
        return "expected a finite number; give one"
    if isinstance(value, list):
        return next((problem for item in value if (problem := _not_finite(item))), None)
    return None


def _kind(parameter: Parameter | None) -> str:
    wanted = expected(parameter.annotation, parameter.module) if parameter else None
    return f"<{wanted}>" if wanted else "VALUE"


def _plain(value: Any) -> Any:
    """A value without OmegaConf's containers; _UNKNOWN if a part is missing or cannot be resolved."""
    if not isinstance(value, DictConfig | ListConfig):
        return value
    try:
        return OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    except (OmegaConfBaseException, ValueError):
        return _UNKNOWN  # its own line names the place


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
