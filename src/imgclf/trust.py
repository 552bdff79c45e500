"""What the configuration in a run folder may name: building it must run no code of others, wherever it comes from."""

import importlib
import inspect
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, LightningDataModule, Trainer
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import Profiler
from pytorch_lightning.strategies import Strategy
from torch import nn
from torch.optim import Optimizer
from torchmetrics import Metric

from imgclf.errors import InputError
from imgclf.run_folder import RunFolder

# Classes of these modules, each with all below it, ...
_MODULES = (
    "imgclf.",
    "pytorch_lightning.callbacks.device_stats_monitor.",
    "pytorch_lightning.callbacks.early_stopping.",
    "pytorch_lightning.callbacks.gradient_accumulation_scheduler.",
    "pytorch_lightning.callbacks.lr_monitor.",
    "pytorch_lightning.callbacks.timer.",
    "pytorch_lightning.callbacks.weight_averaging.",
    "pytorch_lightning.loggers.csv_logs.",
    "pytorch_lightning.loggers.tensorboard.",
    "pytorch_lightning.profilers.",
    "pytorch_lightning.strategies.ddp.",
    "torch.nn.modules.",
    "torch.optim.",
)
# ... that are of one of these kinds, and the builders of networks.
_KINDS = (nn.Module, Optimizer, Callback, Logger, Strategy, LightningDataModule, Metric, Profiler, Trainer)
_BUILDERS = ("torchvision.models.", "imgclf.models.")
_FILES = (
    *("save_dir", "dirpath", "dir_path", "file", "filename", "log_dir", "sub_dir", "default_root_dir"),
    *("cache_dir", "version", "name"),
)


def read_run_config(folder: RunFolder, trust: Collection[str] = ()) -> dict[str, Any]:
    """The configuration that a run folder keeps, once it is certain that building it runs no code of others.

    It may name what ``_MODULES`` and ``_BUILDERS`` say and what ``trust`` adds; it resolves nothing but ``${folder}``,
    writes into its own folder and beside its data alone, and loads neither data nor weights from elsewhere.

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
    try:
        problems = list(_problems(config, "", trust, str((config.get("data") or {}).get("dir", ""))))
    except RecursionError:
        problems = ["it is nested too deeply"]
    if problems:
        more = [f"and {len(problems) - 5} more"] if len(problems) > 5 else []
        raise InputError("\n".join([f"{folder.config_file}:", *problems[:5], *more]))
    return config


def _problems(node: Any, path: str, trust: Collection[str], data_dir: str) -> Iterator[str]:
    if isinstance(node, list):
        for place, value in enumerate(node):
            yield from _problems(value, f"{path}[{place}]", trust, data_dir)
    elif isinstance(node, dict):
        trusted = str(node.get("_target_", "")).startswith(tuple(trust))  # its files, too
        for key, value in node.items():
            full = f"{path}.{key}" if path else str(key)
            if full == "hydra" or key == "defaults":
                yield f"{full}: only a file of conf/ may steer Hydra. Take the key out"
            elif key == "_args_" and any(isinstance(v, str) for v in (value if isinstance(value, list) else [value])):
                yield f"{full}: a run folder may give texts by name only, which tells files from other values"
            elif key == "_target_":
                yield from _refusal(full, value, trust)
            elif key in _FILES and "." in full and not trusted and not _is_inside(value, data_dir):
                yield f"{full}={value}: a run folder writes into itself only; 'trust=[PACKAGE.]' lets a class do more"
            elif key in ("download", "weights", "weights_backbone", "pretrained") and value:
                node[key] = False if key == "download" else None  # only what the command line asks for is downloaded
            else:
                yield from _problems(value, full, trust, data_dir)
    elif isinstance(node, str) and "${" in node.replace("${folder}", ""):
        yield f"{path}={node}: only ${{folder}} is resolved there. Write the value itself"


def _is_inside(file: Any, data_dir: str) -> bool:
    """Whether a path lies in the run folder, or is where decoded images lie beside their files."""
    if not isinstance(file, str):
        return True
    inside = file in ("", "${folder}") or file.startswith("${folder}/") or Path(file).name == file
    return ".." not in Path(file).parts and (inside or (bool(data_dir) and file == f"{data_dir}/.decoded"))


def _refusal(path: str, target: Any, trust: Collection[str]) -> Iterator[str]:
    if not isinstance(target, str) or not re.fullmatch(r"[\w.]+", target):
        yield f"{path}={target!r}: this is no name of a class. Restore the file"
        return
    prefixes = tuple(name for name in trust if name.endswith("."))
    if target in trust:
        return
    # Nothing is imported but from packages that are loaded anyway, or that the command line trusts.
    if target.startswith((*prefixes, "imgclf.", "torch.", "torchvision.", "pytorch_lightning.")):
        try:
            found = _named(target)
        except (ImportError, AttributeError) as error:
            yield f"{path}={target}: there is none here ({error}). Is it of another version of this program? Use that"
            return
        home = f"{getattr(found, '__module__', '')}."
        if inspect.isclass(found):
            if home.startswith(prefixes) or (
                home.startswith(_MODULES) and (issubclass(found, _KINDS) or _is_own(home))
            ):
                return
        elif inspect.isfunction(found) and (home.startswith((*prefixes, *_BUILDERS)) and "." not in found.__qualname__):
            return
    yield (
        f"{path}={target}: a run folder may build only networks, data, optimizers, schedules and callbacks of this "
        f"package, torch and Lightning. If you know that {target} does no harm here, add "
        f"'trust=[{target.rpartition('.')[0] or target}.]'"
    )


def _is_own(home: str) -> bool:
    """Whether plain classes of a module, such as augmentations, are part of what runs are made of."""
    return home.startswith(("imgclf.images.augment.", "imgclf.data."))


def _named(target: str) -> Any:
    """The module-level object of a dotted name; methods do not count, ``load_from_checkpoint`` would load a pickle."""
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        rest = parts[length:]
        if len(rest) != 1:
            raise ImportError(f"{'.'.join(rest)} is not in the module {'.'.join(parts[:length])}")
        return getattr(found, rest[0])
    raise ImportError(f"no module {parts[0]}")


def run_config(folder: RunFolder, trust: Collection[str] = ()) -> DictConfig:
    """As :func:`read_run_config`, with the folder where it lies now."""
    return OmegaConf.create(read_run_config(folder, trust) | {"folder": str(folder.path.absolute())})
