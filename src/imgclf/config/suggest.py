"""Hydra's composition errors in plain words: what is wrong, and below it the nearest right thing or a remedy.

The errors and their texts are those of hydra-core 1.3, as they leave `hydra.main` under HYDRA_FULL_ERROR=1,
alike in single runs and in --multirun. Over 300 lines, since some twenty errors have a remedy each.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobRuntime
from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from hydra.version import VersionBase
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from imgclf.config import nearest as nearest
from imgclf.config.check import key_paths
from imgclf.config.signatures import signature
from imgclf.errors import InputError

_FLAGS_WITH_VALUE = {"--config-name", "-cn", "--config-path", "-cp", "--config-dir", "-cd", "--package", "-p"}
_MOST_LISTED = 12  # names listed in a message
_QUOTES = "'\""
_KEY = r"[+~]*[\w./@:\-]+"

# What a choice of a plugin needs: the extra of pyproject.toml that brings it.
EXTRAS = {
    "hydra/launcher/joblib": "joblib",
    "hydra/launcher/submitit_slurm": "slurm",
    "hydra/launcher/submitit_local": "slurm",
    "hydra/launcher/ray": "ray",
    "hydra/sweeper/optuna": "optuna",
    "hydra/sweeper/sampler/tpe": "optuna",
}


def explain(error: Exception, overrides: list[str], config_dir: Path, config_name: str) -> str | None:
    """Say what is wrong with the command line or a YAML file; None if the error is not one of these.

    overrides: the arguments as the user typed them, flags like -m allowed; config_dir: folder of the primary
    config `config_name` (without .yaml). Hydra's global state is left as it was found.
    """
    tree = _Tree(Path(config_dir).absolute(), config_name.removesuffix(".yaml"), _without_flags(overrides))
    if isinstance(error, ConfigCompositionException) and not str(error) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, OverrideParseException):
        return _unreadable(error.override, error.message, tree)
    if isinstance(error, MissingConfigException):
        return _missing_config(error, tree)
    if isinstance(error, yaml.MarkedYAMLError):
        return _bad_yaml(error)
    if isinstance(error, OmegaConfBaseException):
        return _omegaconf(error, tree)
    if isinstance(error, ValueError) and str(error).startswith("Config group override must be"):
        return _not_a_choice(tree)
    if isinstance(error, HydraException):
        for pattern, answer in _ANSWERS:
            match = re.search(pattern, str(error), re.S)
            if match:
                return answer(match, error, tree)
    if re.search(r"full_key: hydra\.sweeper\.params|^Unexpected type for root: NoneType", str(error)):
        return _params_of_a_sweep(tree)  # OmegaConf has looked into what is null
    return None


# --- what there is: keys, groups, choices ---


@dataclass
class _Tree:
    """The groups and choices on disk and the keys of the configuration, composed without what is wrong."""

    folder: Path
    name: str
    overrides: list[str]
    _configs: dict[tuple[str, ...], DictConfig] = field(default_factory=dict)

    @cached_property
    def files(self) -> list[Path]:
        return sorted(file for file in self.folder.rglob("*.yaml") if file.is_file())

    @cached_property
    def groups(self) -> dict[str, list[str]]:
        """Group (`model`, `hydra/launcher`) -> its choices."""
        groups: dict[str, list[str]] = {}
        for file in self.files:
            group = file.parent.relative_to(self.folder).as_posix()
            if group != ".":
                groups.setdefault(group, []).append(file.stem)
        return groups

    def typed(self, key: str, value: str | None = None) -> str | None:
        """The argument, as typed, that sets `key` (to `value`, or to a sweep with it)."""
        for text in self.overrides:
            name, _, given = text.partition("=")
            if name.lstrip("+~").partition("@")[0] != key.partition("@")[0]:
                continue
            if value is None or value in re.split(r"[\s,()\[\]'\"]+", given) or value == given.strip("'\""):
                return text
        return None

    def config(self, without: str, hydra: bool = False) -> DictConfig:
        """The configuration composed without the arguments for `without`; without all others if need be."""
        kept = tuple(t for t in self.overrides if t.partition("=")[0].lstrip("+~").partition("@")[0] != without)
        attempts = [
            kept,
            tuple(t for t in kept if t.partition("=")[0] in self.groups and "experiment" not in t),
            (),
        ]
        for attempt in attempts:
            if attempt in self._configs:
                return self._configs[attempt]
            try:
                with _hydra_for(self.folder):
                    chosen = [c for text in attempt if (c := _first_of_sweep(text))]
                    self._configs[attempt] = compose(self.name, chosen, return_hydra_config=hydra)
                    return self._configs[attempt]
            except Exception:
                continue  # the other arguments may be wrong as well; this is only a source of names
        return OmegaConf.create({})

    def keys(self, without: str) -> list[str]:
        is_hydra = without.startswith("hydra")
        found = key_paths(self.config(without, hydra=is_hydra))
        return [key for key in found if key.startswith("hydra") == is_hydra]

    def files_choosing(self, group: str, choice: str) -> list[str]:
        """Files whose defaults list takes this choice of the group, those in use first."""
        found = []
        for file in self.files:
            for entry in _defaults(file):
                for key, value in entry.items():
                    said = str(key).split()[-1].partition("@")[0]
                    here = file.parent.relative_to(self.folder).as_posix()
                    full = said.lstrip("/") if said.startswith("/") or here == "." else f"{here}/{said}"
                    if full == group and choice in (value if isinstance(value, list) else [value]):
                        found.append(file.relative_to(self.folder).as_posix())
        return sorted(found, key=lambda name: not self.typed(name.rpartition("/")[0], Path(name).stem))

    def file(self, config: str) -> str:
        """How to name the file of a config in a message."""
        return f"{(self.folder / config).as_posix()}.yaml"


def _defaults(file: Path) -> list[dict[object, object]]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        return []
    entries = content.get("defaults") if isinstance(content, dict) else None
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


@contextmanager
def _hydra_for(folder: Path) -> Iterator[None]:
    """Hydra's compose API on this folder, even while Hydra is at work; its globals are put back."""
    instance = GlobalHydra.instance()
    before = instance.hydra
    job, version = JobRuntime.instance().conf.copy(), VersionBase.instance().getbase()
    instance.clear()
    try:
        with initialize_config_dir(str(folder), job_name="explain", version_base="1.3"):
            yield
    finally:
        GlobalHydra.set_instance(instance)
        instance.hydra = before
        JobRuntime.instance().conf = job
        VersionBase.instance().version_base = version


def _without_flags(arguments: list[str]) -> list[str]:
    kept, skip = [], False
    for argument in arguments:
        if not skip and not argument.startswith("-"):
            kept.append(argument)
        skip = not skip and argument in _FLAGS_WITH_VALUE
    return kept


def _first_of_sweep(text: str) -> str | None:
    """The argument itself or, of a sweep, its first point; None where a sweep has no first point."""
    override: Override = OverridesParser.create().parse_override(text)
    if not override.is_sweep_override():
        return text
    if not (override.is_choice_sweep() or override.is_range_sweep()):
        return None
    return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"


# --- keys ---


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_LISTED
    return ", ".join(sorted(names)[:_MOST_LISTED]) + (f", and {more} more" if more > 0 else "")


def _no_key(key: str, tree: _Tree) -> str:
    if key in tree.groups and (typed := tree.typed(key)):
        return f"{typed}: a group takes the name of a file.\nChoices: {_listed(tree.groups[key])}"
    hint = _instead_of_key(key, tree)
    own = "" if "Did you mean" in hint or "'+" in hint else f" A key of your own is added with '+{key}=...'"
    return f"There is no key or group '{key}'.\n{hint}{own}"


def _instead_of_key(key: str, tree: _Tree) -> str:
    keys = tree.keys(key)
    dotted = key.replace("/", ".")
    parent, _, leaf = dotted.rpartition(".")
    if dotted in keys and dotted != key:
        return f"Did you mean '{dotted}'? A slash chooses a file of a group, a dot names a key."
    if leaf in tree.groups.get(parent.replace(".", "/"), []):
        return f"Did you mean '{parent.replace('.', '/')}={leaf}'?"
    siblings = [k for k in keys if k.rpartition(".")[0] == parent]
    takes = _parameters(parent, key, tree)
    if leaf in takes:
        return f"'{parent}' takes it, but the configuration does not set it yet: add it with '+{key}=...'"
    same = [k for k in keys if k.rpartition(".")[2] == leaf]
    if same:
        return "Did you mean " + " or ".join(f"'{k}'" for k in same[:_MOST_LISTED]) + "?"
    here = {k.rpartition(".")[2]: k for k in siblings}
    here |= {} if parent else {group: group for group in tree.groups}
    if near := nearest(leaf, here):
        return f"Did you mean '{here[near].replace('.', '/') if '/' in key else here[near]}'?"
    if near := nearest(leaf, takes):
        return f"Did you mean '+{parent}.{near}'? The + adds a key that the configuration does not set yet."
    if parent in keys and not siblings:
        return f"'{parent}' has no keys of its own. Did you mean '{parent}'?"
    if not siblings and (near := nearest(key, tree.groups, 0.75) or nearest(dotted, keys, 0.75)):
        return f"Did you mean '{near}'?"
    leaves = {k.rpartition(".")[2]: k for k in reversed(keys)}
    if near := nearest(leaf, leaves):
        return f"Did you mean '{leaves[near]}'?"
    if parent and siblings:
        return f"'{parent}' has: {_listed([k.rpartition('.')[2] for k in siblings])}."
    return f"The configuration has: {_listed([k for k in keys if '.' not in k])}."


def _parameters(node: str, key: str, tree: _Tree) -> list[str]:
    """Parameters of what the node at `node` makes, if it names a target that can be read."""
    try:
        target = OmegaConf.select(tree.config(key), f"{node}._target_") if node else None
        found = signature(target) if isinstance(target, str) else None
    except (InputError, OmegaConfBaseException):
        return []
    return found.keywords if found else []


# --- errors ---


def _missing_config(error: MissingConfigException, tree: _Tree) -> str:
    missing = (error.missing_cfg_file or "").removesuffix(".yaml")
    if missing.endswith("/run") and tree.typed("run") is None:  # composed from the folder, once that is known
        return "run: must be given.\nAdd run=FOLDER, the folder that training named at its end"
    if "primary config" in str(error).lower():
        there = [file.stem for file in tree.files if file.parent == tree.folder]
        near = nearest(missing, there)
        hint = f"Did you mean '{near}'? " if near else ""
        head = f"There is no configuration '{missing}' in {tree.folder}."
        return f"{head}\n{hint}There are: {_listed(there) or 'none'}"
    if missing in EXTRAS:
        return _not_installed(EXTRAS[missing], tree)
    group, _, choice = missing.rpartition("/")
    options = sorted(error.options or tree.groups.get(group, []))
    typed = tree.typed(group, choice)
    if typed is None and (files := tree.files_choosing(group, choice)):
        head = f"{tree.folder / files[0]}: its defaults list takes '{group}: {choice}'; there is no such choice."
    else:
        head = f"{typed or f'{group}={choice}'}: there is no such choice."
    if typed and choice != typed.partition("=")[2]:
        head = f"{typed}: there is no choice '{choice}'."
    if not options:
        return f"{head}\n{_instead_of_key(group, tree)}"
    near = nearest(choice, options)
    plugin = group in ("hydra/launcher", "hydra/sweeper")
    more = f"; more come with a plugin (pip install hydra-{choice.partition('_')[0]}-...)" if plugin else ""
    return f"{head}\n" + (f"Did you mean '{near}'? " if near else "") + f"Choices: {_listed(options)}{more}"


def _not_installed(extra: str, tree: _Tree) -> str:
    wants = ("hydra/launcher", "hydra/sweeper", "search")
    typed = next((text for text in tree.overrides if text.partition("=")[0] in wants), extra)
    return (
        f"{typed}: needs packages that are not installed.\nAdd them: uv run --extra {extra} scripts/{tree.name}.py ..."
    )


def _unreadable(override: str, message: str, tree: _Tree) -> str:
    key, equals, value = override.partition("=")
    quoted = f"'{key}=\"{value}\"'"
    if not equals:
        if ":" in override:
            return f"{override}: not understood.\nWrite KEY=VALUE: {override.replace(':', '=', 1)}"
        return f"{override}: a value is missing; write KEY=VALUE.\n{_with_value(override.lstrip('+~'), tree)}"
    if "Unknown function" in message:
        name = value.partition("(")[0]
        known = re.search(r"Available: (\S+)", message)
        near = nearest(name, known.group(1).split(",")) if known else None
        hint = f"Did you mean '{near}(...)'? " if near else ""
        head = f"{override}: there is no sweep function '{name}'."
        return f"{head}\n{hint}For plain text, quote the value: {quoted}"
    if " while evaluating" in message:
        reason = message.partition("while evaluating")[2].partition(": ")[2].splitlines()[0]
        return f"{override}: {reason}.\nMend the arguments of {value}"
    if not re.fullmatch(_KEY, key):
        bare = f"{key.strip()}={value.strip()}"
        like = bare if re.fullmatch(_KEY, key.strip()) else "seed=1"
        return f"{override}: '{key}' cannot be a key.\nWrite KEY=VALUE without blanks: {like}"
    for opened, closed in ("[]", "{}", "()"):
        missing = value.count(opened) - value.count(closed)
        if missing:
            which = f"'{opened}' is not closed" if missing > 0 else f"'{closed}' closes nothing"
            mended = value + closed * missing if missing > 0 else value[:missing]
            return f"{override}: the {which}.\nWrite it whole, in quotes for the shell: '{key}={mended}'"
    if value.startswith("="):
        return f"{override}: two equals signs.\nWrite {key}{value}"
    for quote in "'\"":
        if value.count(quote) % 2:
            return f'{override}: the quote {quote} is not closed.\nClose it, or quote it: {key}="it\\\'s"'
    return f"{override}: the value holds a character with a meaning of its own.\nQuote the value: {quoted}"


def _with_value(word: str, tree: _Tree) -> str:
    for group, choices in tree.groups.items():
        if word == group:
            return f"Choose one: {word}=<choice>. Choices: {_listed(choices)}"
    owners = [group for group, choices in tree.groups.items() if word in choices]
    if owners:
        return "Did you mean " + " or ".join(f"'{group}={word}'" for group in owners) + "?"
    if word in tree.keys(word):
        return f"For example {word}={_present(word, tree)}"
    return _instead_of_key(word, tree)


def _present(key: str, tree: _Tree) -> str:
    try:
        value = OmegaConf.select(tree.config(key), key)
    except OmegaConfBaseException:
        return "VALUE"
    return "VALUE" if value is None or isinstance(value, DictConfig | ListConfig) else str(value)


def _bad_yaml(error: yaml.MarkedYAMLError) -> str | None:
    mark = error.problem_mark
    if mark is None:
        return None
    where = f"{mark.name}, line {mark.line + 1}"
    key = re.search(r"found duplicate key (.+)", error.problem or "")
    if key:
        return f"{where}: the key '{key.group(1)}' stands there twice.\nRemove one of them"
    problem = (error.problem or "cannot be read").strip()
    return f"{where}: {problem}.\nMend the YAML there: look at indentation, colons and brackets"


def _omegaconf(error: OmegaConfBaseException, tree: _Tree) -> str | None:
    first = str(error).strip().splitlines()[0] if str(error).strip() else ""
    key = error.full_key or str(error.key or "")
    match = re.search(r"Interpolation key '(.+?)' not found", first)
    if isinstance(error, InterpolationKeyError) and match:
        return f"{key}: ${{{match.group(1)}}} points at no key.\n{_instead_of_key(match.group(1), tree)}"
    if isinstance(error, MissingMandatoryValue):
        return f"{key}: must be given.\nAdd {key}=VALUE"
    if isinstance(error, InterpolationResolutionError):
        return f"{key}: {first}.\nMend what stands inside ${{...}}"
    typed = tree.typed(key)
    if isinstance(error, ConfigAttributeError | ConfigKeyError) and typed and typed.startswith("~"):
        return f"{typed}: the program needs '{key}'.\nLeave {typed} away, or give {key} another value"
    if isinstance(error, ValidationError):
        return f"{tree.typed(key) or key}: {first}.\nGive a value of that kind"
    return None


def _override_failed(match: re.Match[str], error: Exception, tree: _Tree) -> str:
    where, key, rest = match.group(1), match.group(2), match.group(3)
    if where:
        return _override_in_file(where, key, tree)
    plain, _, package = key.partition("@")
    if package and tree.typed(plain):
        return f"{tree.typed(plain)}: '{key}' is not in the defaults list.\nDid you mean '{plain}'?"
    if plain in tree.groups and "defaults list" in rest:
        typed = tree.typed(plain)
        return f"{typed}: no file of group '{plain}' is in use, so none can be replaced.\nAdd one: +{typed}"
    return _no_key(plain, tree)


def _override_in_file(config: str, key: str, tree: _Tree) -> str:
    shown = key.partition("@")[0]
    head = f"{tree.file(config)}: its defaults list overrides '{shown}', which is no group in use."
    folder = config.rpartition("/")[0]
    if folder and shown.startswith(f"{folder}/") and shown.removeprefix(f"{folder}/") in tree.groups:
        return f"{head}\nWrite 'override /{shown.removeprefix(f'{folder}/')}: ...', with the slash"
    near = nearest(shown.removeprefix(f"{folder}/"), tree.groups)
    return f"{head}\n" + (f"Did you mean '/{near}'?" if near else f"Groups: {_listed(list(tree.groups))}")


def _nothing_to_delete(match: re.Match[str], error: Exception, tree: _Tree) -> str:
    key, _, value = match.group(1).partition("=")
    key = key.partition("@")[0]
    if value and (key in tree.groups or key in tree.keys(key)):
        return f"~{match.group(1)}: '{key}' is not '{value}'.\nTo remove it whatever its value: ~{key}"
    return f"~{match.group(1)}: there is no key or group '{key}' to remove.\n{_instead_of_key(key, tree)}"


def _ambiguous(match: re.Match[str], error: Exception, tree: _Tree) -> str:
    key, _, value = match.group(1).partition("=")
    head = f"{match.group(1)}: several values, but this is a single run.\nTo try each, add -m"
    if key.lstrip("+") in tree.groups:
        return head
    return f"{head}; for a list write '{key}=[{value}]'; for text with a comma write '{key}=\"{value}\"'"


def _not_a_choice(tree: _Tree) -> str | None:
    """Hydra names neither group nor value: it is the first argument for a group whose value is no file."""
    for text in tree.overrides:
        key, _, value = text.partition("=")
        group = key.lstrip("+").partition("@")[0]
        if not group:
            return f"{text}: the key is missing.\nWrite KEY=VALUE"
        if group in tree.groups and value.strip().strip("'\"") not in tree.groups[group]:
            off = f"To leave the group out: ~{group}. " if value in ("null", "") else ""
            return f"{text}: there is no such choice.\n{off}Choices: {_listed(tree.groups[group])}"
    return None


def _params_of_a_sweep(tree: _Tree) -> str | None:
    for text in tree.overrides:
        key, _, value = text.partition("=")
        if re.match(r"[+~]*hydra\.sweeper\.params\b", key):
            name = key.lstrip("+~").removeprefix("hydra.sweeper.params").strip(".")
            command = f"{name}={value.strip(_QUOTES)}" if name else "seed=0,1,2"
            return f"{text}: sets what an experiment's file sweeps over, and there is none.\nWrite -m {command}"
    return None


def _merge_failed(match: re.Match[str], error: Exception, tree: _Tree) -> str:
    cause = str(error.__cause__ or "").strip().splitlines()
    reason = cause[0] if cause else "this value does not fit there"
    return f"{match.group(1)}: {reason}.\nGive a value of that kind"


def _already_there(match: re.Match[str], error: Exception, tree: _Tree) -> str:
    typed = tree.typed(match.group(1)) or f"+{match.group(1)}"
    return f"{typed}: '{match.group(1)}' is there already.\nLeave the + away: {typed.lstrip('+')}"


def _twice(match: re.Match[str], error: Exception, tree: _Tree) -> str:
    group = match.group(1).partition("@")[0]
    typed = tree.typed(group)
    if typed and typed.startswith("+"):
        return f"{typed}: the group '{group}' is in use already.\nLeave the + away: {typed.lstrip('+')}"
    files = [f for choice in tree.groups.get(group, []) for f in tree.files_choosing(group, choice)]
    chosen = [f for f in files if f != f"{tree.name}.yaml"]
    where = f"{tree.folder / chosen[0]}: " if chosen else ""
    return f"{where}the group '{group}' is chosen twice.\nIn its defaults list write '- override /{group}: ...'"


_Answer = Callable[[re.Match[str], Exception, _Tree], str | None]
_ANSWERS: list[tuple[str, _Answer]] = [
    (r"^(?:In '([^']+)': )?Could not override '([^']*)'\.(.*)", _override_failed),
    (
        r"Additional config directory '(.+?)' not found",
        lambda m, e, t: f"--config-dir: there is no folder {m[1]}.\nGive one with configurations, or leave it out",
    ),
    (r"config group '([^']+)' does not exist", lambda m, e, t: _no_key(m[1], t)),
    (
        r"Could not append to config\. An item is already at '([^']+)'",
        _already_there,
    ),
    (
        r"force-add of config groups is not supported: '(.+?)'",
        lambda m, e, t: f"{m[1]}: a group is not set with ++.\nWrite {m[1].lstrip('+')}",
    ),
    (r"Could not delete from config\. '([^']+)' does not exist", _nothing_to_delete),
    (r"Could not delete '([^']+)'\. No match", _nothing_to_delete),
    (
        r"Could not delete from config\. The value of '(.+?)' is (.+) and not (.+)\.",
        lambda m, e, t: f"~{m[1]}={m[3]}: the value of '{m[1]}' is {m[2]}.\nTo remove it whatever its value: ~{m[1]}",
    ),
    (r"Ambiguous value for argument '(.+?)'\n", _ambiguous),
    (
        r"Sweep parameters '(.+)' requires --multirun",
        lambda m, e, t: f"{m[1]}: a sweep, but this is a single run.\nAdd -m",
    ),
    (
        r"Sweeping over Hydra's configuration is not supported : '(.+)'",
        lambda m, e, t: f"{m[1]}: keys of hydra cannot be swept.\nGive one value, or run the program several times",
    ),
    (
        r"does not support sweep type : INTERVAL",
        lambda m, e, t: "interval(...) has no points of its own.\nUse choice(...) or range(...), or another sweeper",
    ),
    (
        r"You must specify '([^']+)'.*?Available options:\n?(.*)",
        lambda m, e, t: f"{m[1]}: a choice must be given.\nWrite {m[1]}=<choice>. Choices: {_listed(m[2].split())}",
    ),
    (r"Multiple values for ([^.]+)\. To override a value use 'override (.+?)'", _twice),
    (r"^(\S+) appears more than once in the final defaults list", _twice),
    (r"Error merging override (.+)", _merge_failed),
    (
        r"^In '?([^':\s]+)'?: (?:\w+ raised while composing config:\n)?(.+)",
        lambda m, e, t: f"{t.file(m[1])}: {m[2].splitlines()[0]}.\nMend that file{_rest_of(m[2])}",
    ),
]


def _rest_of(text: str) -> str:
    rest = [line.strip() for line in text.splitlines()[1:] if line.strip() and "full_key: " not in line]
    return f" ({rest[0]})" if rest and "object_type" not in rest[0] else ""
