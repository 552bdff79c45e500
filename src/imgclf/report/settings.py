"""Which settings differ between runs, and which of those say why.

A sweep over ``optimizer=sgd,adamw`` changes a dozen keys of the resolved configuration, and one of them tells the
others. What is left out of a table for that reason is kept in :attr:`Settings.following`, with what it follows.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from imgclf.report.text import printable, show

# Of a run or of the command that started it, not of what it tries.
OF_THE_RUN = ("name", "folder", "seed", "resume")
_OF_THE_COMMAND = ("sweep.", "hydra.")
_TARGET = "_target_"
_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


class _Absent:
    """The value of a key that a run's configuration does not have."""

    def __repr__(self) -> str:
        return "–"


ABSENT = _Absent()


@dataclass
class Setting:
    """One key and its value in each run.

    Args:
        key: with dots.
        title: as much of the key's end as tells it from the others.
        values: a run each; ABSENT where the run has no such key.
    """

    key: str
    title: str
    values: list[Any]

    def __post_init__(self) -> None:
        self.identities = [identity(value) for value in self.values]
        self._is_class = self.key.endswith(_TARGET)
        ends = {str(value).rsplit(".", 1)[-1] for value in self.values}
        self._ends_suffice = len(ends) == len({str(value) for value in self.values})

    def shown(self, run: int) -> str:
        """The value of a run as a short text: of a class its name."""
        value = self.values[run]
        if value is ABSENT:
            return "–"
        if self._is_class and isinstance(value, str):
            return printable(value.rsplit(".", 1)[-1] if self._ends_suffice else value)
        return show(value)


@dataclass
class Settings:
    """The settings in which runs differ, apart from their seeds.

    Args:
        shown: those that tell the runs apart.
        hidden: those that follow from others.
        following: key of a hidden one -> key that it follows.
    """

    shown: list[Setting]
    hidden: list[Setting]
    following: dict[str, str]


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value; lists are values, empty mappings are nothing."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            leaves |= flat(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def resolved(leaves: dict[str, Any]) -> dict[str, Any]:
    """References to other keys replaced, as far as they are plain ones.

    A run that ended before it began keeps the configuration as Hydra composed it, with ``${data.resize}`` in it.
    """
    found = dict(leaves)
    for key, value in leaves.items():
        for _ in range(5):  # references to references
            if not isinstance(value, str) or "${" not in value:
                break
            whole = _REFERENCE.fullmatch(value)
            if whole:
                value = found.get(whole[1], value)
            else:
                value = _REFERENCE.sub(lambda m: str(found.get(m[1], m[0])), value)[:10_000]
        found[key] = value
    return found


def identity(value: Any) -> str:
    """Equal for equal values only: 1, 1.0, true and "1" are four."""
    if type(value) is int:
        return str(value)  # the most frequent kind, and much faster
    return "" if value is ABSENT else json.dumps(value, sort_keys=True)


def settings_of(configs: Sequence[dict[str, Any]], overrides: Sequence[Sequence[str]]) -> Settings:
    """Which settings differ between runs, in the order of the configuration.

    Args:
        configs: flat settings, a run each.
        overrides: what the command line gave, a run each; what it names is always shown, and says that a group's
            choice was meant.

    Returns:
        The settings that differ. A key follows another and is hidden when the command line of no run names it, and

        - it lies beneath a class that differs, has one value for each class, and some classes do not have it or the
          command line chose the class by its group (``optimizer=adamw``); or
        - its value is in every run another key's value, or a text with that value in it (``${data.resize}``).
    """
    rows = _with_switched_off_classes(configs)
    values = {key: [row.get(key, ABSENT) for row in rows] for key in _differing(rows)}
    named = {_key_of(text) for given in overrides for text in given}
    seeds = [config.get("seed", ABSENT) for config in configs]
    values = {k: v for k, v in values.items() if k in named or not _mirrors(v, seeds)}
    following: dict[str, str] = {}
    for key, column in values.items():
        if key not in named:
            leader = _class_above(key, column, values, named)
            if leader is not None:
                following[key] = leader
    for key, column in values.items():
        if key not in named and key not in following and not key.endswith(_TARGET):
            others = (other for other in values if other != key and following.get(other) != key)
            leader = next(
                (
                    o
                    for o in others
                    if _mirrors(column, values[o]) and (o in named or not _later(o, key, column, values))
                ),
                None,
            )
            if leader is not None:
                following[key] = leader
    titles = _titles([key for key in values if key not in following])
    return Settings(
        shown=[Setting(key, titles[key], column) for key, column in values.items() if key not in following],
        hidden=[Setting(key, printable(key), column) for key, column in values.items() if key in following],
        following=following,
    )


def is_setting(override: str) -> bool:
    """Whether what the command line gave is more than the seed or the way a sweep runs."""
    key = _key_of(override)
    return key != "seed" and not key.startswith(_OF_THE_COMMAND)


def _with_switched_off_classes(configs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """``profiler: null`` in one run and ``profiler._target_`` in another are two values of one key."""
    classes = {key.removesuffix(f".{_TARGET}") for config in configs for key in config if key.endswith(f".{_TARGET}")}
    rows = []
    for config in configs:
        off = [key for key in classes if key in config and config[key] is None]
        row = {f"{key}.{_TARGET}" if key in off else key: value for key, value in config.items()} if off else config
        rows.append(row)
    return rows


def _differing(rows: Sequence[dict[str, Any]]) -> list[str]:
    keys = dict.fromkeys(key for row in rows for key in row)
    kept = [key for key in keys if key not in OF_THE_RUN and not key.startswith(_OF_THE_COMMAND)]
    return [key for key in kept if not _all_same([row.get(key, ABSENT) for row in rows])]


def _all_same(values: Sequence[Any]) -> bool:
    first, kind = values[0], type(values[0])
    if kind in (list, dict, float):  # whose equality is not identity: [1] == [1.0], nan != nan
        wanted = identity(first)
        return all(type(value) is kind and identity(value) == wanted for value in values)
    return all(type(value) is kind and value == first for value in values)


def _key_of(override: str) -> str:
    return override.lstrip("+~").split("=", 1)[0].split("@", 1)[0].replace("/", ".")


def _class_above(key: str, column: list[Any], values: dict[str, list[Any]], named: Iterable[str]) -> str | None:
    """The nearest class above a key that decides its value."""
    parts = key.split(".")
    for depth in range(len(parts) - 1, 0, -1):
        group = ".".join(parts[:depth])
        leader = f"{group}.{_TARGET}"
        brought = group in named or any(value is ABSENT for value in column)
        if brought and leader != key and leader in values and _determines(values[leader], column):
            return leader
    return None


def _determines(leaders: list[Any], followers: list[Any]) -> bool:
    known: dict[str, str] = {}
    return all(
        known.setdefault(identity(leader), identity(follower)) == identity(follower)
        for leader, follower in zip(leaders, followers, strict=True)
    )


def _mirrors(followers: list[Any], leaders: list[Any]) -> bool:
    """Whether one value is the other, or a text around it, in every run."""
    rests = set()
    for follower, leader in zip(followers, leaders, strict=True):
        if follower is ABSENT or leader is ABSENT or isinstance(leader, bool) or leader in (None, ""):
            return False
        if isinstance(follower, str) and isinstance(leader, str) and len(leader) > 1:
            if leader not in follower:
                return False
            rests.add(follower.replace(leader, "\0"))
        elif identity(follower) == identity(leader):
            rests.add("\0")
        else:
            return False
    return len(rests) == 1


def _later(other: str, key: str, column: list[Any], values: dict[str, list[Any]]) -> bool:
    """Of two that mirror each other the first stays."""
    order = list(values)
    return order.index(other) > order.index(key) and _mirrors(values[other], column)


def _titles(keys: Sequence[str]) -> dict[str, str]:
    """The shortest ends of the keys that tell them apart."""
    parts = {key: key.removesuffix(f".{_TARGET}").split(".") for key in keys}
    titles = {}
    for key, own in parts.items():
        others = [other for k, other in parts.items() if k != key]
        count = next((n for n in range(1, len(own)) if not any(o[-n:] == own[-n:] for o in others)), len(own))
        titles[key] = printable(".".join(own[-count:]))
    return titles
