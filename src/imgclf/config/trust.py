"""What a run folder's configuration may name, since folders get shared.

Building a configuration calls what its ``_target_`` keys name: ``os.system`` as well as a network. So a configuration
that comes from a run folder is held against a short list of modules before anything of it is built, unless it carries
the seal of this user's own runs. What the command line says is the user's own word and not checked.

The rule, for every ``_target_`` at any depth:

- it must stand for a class *defined* in one of ``CLASSES``, or for one of the few functions that build networks; names
  are followed on source files, importing nothing, so that ``imgclf.data.module.torch.load`` is seen to be torch's;
- methods do not count: ``load_from_checkpoint`` of any class would load a pickle;
- or the command line trusts it: ``trust=[mine.]`` all that the module or package ``mine`` defines, ``trust=[mine.Net]``
  this name alone.

And nothing is resolved but ``${folder}``: other references could make a target of a harmless text, or read the
environment; a ``hydra`` or ``defaults`` key would steer Hydra itself.
"""

import ast
import re
from collections.abc import Collection, Iterator
from typing import Any

from imgclf import seal
from imgclf.config.signatures import Found, definition, lookup_dotted
from imgclf.errors import InputError
from imgclf.run_folder import RunFolder

# Modules, each with all below it, whose classes a run folder may name: what conf/ uses, and their like.
CLASSES = (
    "imgclf.callbacks.",
    "imgclf.data.",
    "imgclf.images.augment.",
    "imgclf.models.",
    "imgclf.optimizers.",
    "imgclf.run.tensorboard.",
    "imgclf.run.trainer.",
    "imgclf.schedules.",
    "pytorch_lightning.callbacks.device_stats_monitor.",
    "pytorch_lightning.callbacks.early_stopping.",
    "pytorch_lightning.callbacks.gradient_accumulation_scheduler.",
    "pytorch_lightning.callbacks.lr_monitor.",
    "pytorch_lightning.callbacks.timer.",
    "pytorch_lightning.callbacks.weight_averaging.",
    "pytorch_lightning.loggers.csv_logs.",
    "pytorch_lightning.loggers.tensorboard.",
    "pytorch_lightning.profilers.",
    "pytorch_lightning.trainer.trainer.",
    "torch.nn.modules.",
    "torch.optim.",
)
FUNCTIONS = ("imgclf.models.torchvision_net.torchvision_net",)
# And torchvision's builders of networks, which are marked with this.
_BUILDERS, _MARK = "torchvision.models.", "register_model"

_STEERS_HYDRA = ("hydra", "defaults")
_DEEPEST = 40  # levels; more is a circle
_MOST_NAMED = 5  # problems in a message


def trusted_config(folder: RunFolder, trust: Collection[str] = ()) -> dict[str, Any]:
    """The configuration that a run folder keeps, once it is certain that building it runs no code of others.

    Args:
        folder: of the run.
        trust: what else it may name: dotted names, or beginnings of such that end in a dot.

    Raises:
        InputError: it is damaged, or names something that is neither allowed nor trusted.
    """
    for name in trust:
        if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*\.?", name):
            raise InputError(f"trust={name}: give names like mine.Net, or mine. for all that the module mine defines")
    config = folder.read_config()
    if seal.is_own_yaml(folder.config_file.read_text(encoding="utf-8")):
        return config
    problems = list(_Walk(trust).problems(config, ""))
    if problems:
        shown = problems[:_MOST_NAMED]
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown)} more")
        raise InputError("\n".join([f"{folder.config_file} is not one of your own runs', and", *shown]))
    return config


def trust_of(arguments: Collection[str]) -> list[str]:
    """The names of ``trust=[NAME,NAME]`` on a command line."""
    given = [a.partition("=")[2] for a in arguments if a.startswith("trust=")]
    return [name for text in given for name in re.split(r"[\[\],\s'\"]+", text) if name]


def targets(node: Any) -> Iterator[str]:
    """Every ``_target_`` of a configuration, plain values."""
    if isinstance(node, dict):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


class _Walk:
    def __init__(self, trust: Collection[str]) -> None:
        self.trust = trust

    def problems(self, node: Any, path: str, depth: int = 0) -> Iterator[str]:
        if depth > _DEEPEST:
            yield f"{path} is nested too deeply: restore the file"
        elif isinstance(node, dict):
            for key, value in node.items():
                full = f"{path}.{key}" if path else str(key)
                if depth < 2 and key in _STEERS_HYDRA:
                    yield f"{full}: only a file of conf/ may steer Hydra. Take the key out"
                elif key == "_target_" and not (isinstance(value, str) and self._allows(value)):
                    yield _refusal(full, value)
                else:
                    yield from self.problems(value, full, depth + 1)
        elif isinstance(node, list):
            for place, value in enumerate(node):
                yield from self.problems(value, f"{path}[{place}]", depth + 1)
        elif isinstance(node, str) and "${" in node.replace("${folder}", ""):
            yield f"{path}={node}: only ${{folder}} is resolved there. Write the value itself"

    def _allows(self, target: str) -> bool:
        if target in self.trust:
            return True
        prefixes = [name for name in self.trust if name.endswith(".")]
        if not target.startswith((*CLASSES, *prefixes, "torch.", "torchvision.", "pytorch_lightning.")):
            return False
        try:
            found = definition(lookup_dotted(target, {}))
        except (SyntaxError, UnicodeDecodeError, RecursionError, OSError, ValueError):
            return False
        if found is None or found.module is None:
            return False
        home = f"{found.module.name}."
        kinds = ast.ClassDef | ast.FunctionDef
        if not isinstance(found.node, kinds) or found.dotted != f"{home}{found.node.name}":
            return False  # a method, or no definition
        if home.startswith(tuple(prefixes)):
            return True
        if isinstance(found.node, ast.ClassDef):
            return home.startswith(CLASSES)
        return found.dotted in FUNCTIONS or _builds_a_network(found)


def _builds_a_network(found: Found) -> bool:
    """Whether this is one of torchvision's registered builders."""
    assert isinstance(found.node, ast.FunctionDef)
    marks = [d.func.id for d in found.node.decorator_list if isinstance(d, ast.Call) and isinstance(d.func, ast.Name)]
    return found.dotted.startswith(_BUILDERS) and _MARK in marks


def _refusal(path: str, target: object) -> str:
    if not isinstance(target, str) or not re.fullmatch(r"[\w.]+", target):
        return f"{path}={target!r}: this is no name of a class. Restore the file"
    if target.startswith("imgclf.") and lookup_dotted(target, {}) is None:
        return f"{path}={target}: there is none here. Is it of another version of this program? Use that one"
    module = target.rpartition(".")[0]
    entry = f"{module}." if module else target
    return (
        f"{path}={target}: a folder from elsewhere may build only networks, data, optimizers, schedules and callbacks "
        f"of this package, torch and Lightning. If you know that {target} does no harm here, add 'trust=[{entry}]'"
    )
