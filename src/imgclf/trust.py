"""What the configuration in a run folder may name: building it must run no code of others, wherever it comes from."""

import importlib
import inspect
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import Callback, LightningDataModule, Trainer
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import Profiler
from pytorch_lightning.strategies import Strategy
from torch import nn
from torch.optim import Optimizer
from torchmetrics import Metric

from imgclf.errors import InputError
from imgclf.run_folder import RunFolder

# Allowed are classes of these kinds of these modules, plain ones (such as augmentations), and makers of networks.
_KINDS = (nn.Module, Optimizer, Callback, Logger, Strategy, LightningDataModule, Metric, Profiler, Trainer)
_LIGHTNING = (
    *("callbacks.device_stats_monitor.", "callbacks.early_stopping.", "callbacks.lr_monitor.", "callbacks.timer."),
    *("callbacks.weight_averaging.", "loggers.csv_logs.", "loggers.tensorboard.", "profilers.", "strategies.ddp."),
)
_MODULES = (
    *("imgclf.", "torch.nn.modules.", "torch.optim.", "torchvision.transforms.v2."),
    *("torchmetrics.classification.", "torchmetrics.aggregation.", "torchmetrics.collections."),
    *(f"pytorch_lightning.{name}" for name in _LIGHTNING),
)
_PLAIN = ("imgclf.data.",)
_FILES = ("save_dir", "dirpath", "dir_path", "file", "log_dir", "default_root_dir", "cache_dir")
_NAMES = ("filename", "sub_dir", "version", "name")  # joined to those
WEIGHING = ("loss.", "model.metrics.")  # where ``weights`` are no file's
DOWNLOADS = {"download": False, "url": "", "weights": None, "weights_backbone": None, "pretrained": None}


def read_run_config(
    folder: RunFolder, trust: Collection[str] = (), purpose: Literal["use", "resume", "rerun"] = "use"
) -> dict[str, Any]:
    """The configuration that a run folder keeps, once it is certain that building it runs no code of others.

    It resolves nothing but ``${folder}``, writes into its folder and beside its data alone, and downloads nothing. It
    may name what is listed above and what ``trust`` adds: dotted names, or beginnings of such that end in a dot.
    For mere ``use`` it has no callbacks, no loggers, of which some send or start something, no weights to begin from.
    """
    for name in trust:
        if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*\.?", name):
            raise InputError(f"trust={name}: give names like mine.Net, or mine. for all that the module mine defines")
    unused = ("logger", "callbacks") if purpose == "use" else ()
    config = {key: node for key, node in folder.read_config().items() if key not in unused}
    model = config.get("model")
    net: Any = model.get("net") if isinstance(model, dict) else None
    is_own = isinstance(net, dict) and str(net.get("_target_")).startswith("imgclf.models.")  # made from weights here
    weights = net.get("weights") if is_own else None
    try:
        problems = list(_problems(config, "", trust))
    except RecursionError:
        problems = ["it is nested too deeply"]
    own = [folder.path / name for name in ("predicted", "exported")]  # all that use writes into
    if purpose == "use" and isinstance(config.get("trainer"), dict):
        config["trainer"]["profiler"] = None  # which writes
    files = own if purpose == "use" else folder.path.rglob("*")
    files = [file for file in files if "wandb" not in file.relative_to(folder.path).parts[:-1]]  # it puts its own there
    problems += [f"{f} is a link, and would be written to: put its file there" for f in files if f.is_symlink()]
    # A checkpoint has later ones; without one the run needs those that it began from.
    if isinstance(weights, str) and weights and purpose != "use":
        net["weights"] = weights
        library = "timm." if "timm" in net["_target_"] else "torchvision."
        is_here = Path(weights).is_file() or (purpose == "resume" and folder.last.exists())
        if not is_here and library not in trust:
            problems.append(f"model.net.weights={weights}: a folder alone downloads nothing; add 'trust=[{library}]'")
    if problems:
        more = [f"and {len(problems) - 5} more"] if len(problems) > 5 else []
        raise InputError("\n".join([f"{folder.config_file}:", *problems[:5], *more]))
    return config


def _problems(node: Any, path: str, trust: Collection[str]) -> Iterator[str]:
    if isinstance(node, list):
        for place, value in enumerate(node):
            yield from _problems(value, f"{path}[{place}]", trust)
    elif isinstance(node, dict):
        target = str(node.get("_target_", ""))
        is_trusted = target.startswith(tuple(trust))  # its files, too
        for key, value in node.items():
            full = f"{path}.{key}" if path else str(key)
            has_text = any(isinstance(item, str) for item in (value if isinstance(value, list) else [value]))
            if full == "hydra" or key == "defaults":
                yield f"{full}: only a file of conf/ may steer Hydra. Take the key out"
            elif key == "_args_" and not is_trusted and (has_text or target.startswith("torchvision.models.")):
                yield f"{full}: a run folder may give texts by name only, which tells files from other values"
            elif key == "_target_":
                if (problem := _refusal(value, trust)) is not None:
                    yield f"{full}={value}: {problem}"
            elif key == "file" and target.startswith("imgclf.data."):  # which is read, without pickles
                yield from _problems(value, full, trust)
            elif full == "name" and isinstance(value, str) and {"..", "/"} & {*Path(value).parts}:
                yield f"{full}={value}: a run lies below logs/. Give it another name"
            elif key == "cache_dir" and not is_trusted and _leaves_folder(key, value):
                node[key] = None  # beside the pictures, then: these have been decoded elsewhere
            elif path and not is_trusted and _leaves_folder(key, value):
                package = target.partition(".")[0]
                yield f"{full}={value}: a run folder writes into itself only; 'trust=[{package}.]' lets a class do more"
            elif key in DOWNLOADS and value and not _weighs(full, value, target, is_trusted):  # 1 is as good as True
                node[key] = DOWNLOADS[key]  # only what the command line asks for is downloaded
            else:
                yield from _problems(value, full, trust)
    elif isinstance(node, str) and "${" in node.replace("${folder}", ""):
        yield f"{path}={node}: only ${{folder}} is resolved there. Write the value itself"


def _weighs(key: str, value: Any, target: str, is_trusted: bool) -> bool:
    """Whether it is numbers, or a metric's or loss's own setting, such as ``weights: quadratic`` of Cohen's kappa."""
    loads = ("imgclf.models.torchvision_net.", "imgclf.models.pretrained.")
    is_own = target.startswith("imgclf.") and not target.startswith(loads)
    if key.startswith(WEIGHING) and (is_trusted or (is_own and key.endswith(".weights"))):
        return True
    is_list = isinstance(value, list) and key.endswith(".weights") and not target.startswith("torchvision.")
    return is_list or target.startswith("torchmetrics.")


def _leaves_folder(key: str, value: Any) -> bool:
    """Whether a file lies neither in the run folder nor in the decoded images, or a name is more than a name."""
    if not isinstance(value, str) or value in ("", "${folder}") or key not in _FILES + _NAMES:
        return False
    path = Path(value)
    is_own = path.parts[:1] == ("${folder}",) or path.name == (value if key in _NAMES else ".decoded")
    is_own |= key == "cache_dir" and any(path.glob("*/kept.npy"))  # decoded images lie there already
    is_own &= not {"..", "wandb"} & {part.lower() for part in path.parts}  # below wandb/ links are let be
    return not is_own or bool({"~", "$"} & set(value.removeprefix("${folder}")))


def _refusal(target: Any, trust: Collection[str]) -> str | None:
    """Why a run folder may not build this; None where it may."""
    if not isinstance(target, str) or not re.fullmatch(r"[\w.]+", target):
        return "this is no name of a class. Restore the file"
    if target in trust:
        return None
    trusted, (module, _, name) = tuple(p for p in trust if p.endswith(".")), target.rpartition(".")
    # Nothing is imported but from packages that are loaded anyway, or that the command line trusts. Methods do not
    # count, load_from_checkpoint would load a pickle; nor does what a module has imported from elsewhere.
    if target.startswith((*trusted, "imgclf.", "torch.", "torchmetrics.", "torchvision.", "pytorch_lightning.")):
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            return f"there is none here ({error}). Is it of another version of this program? Use that"
        home = f"{getattr(found, '__module__', '')}."
        if inspect.isclass(found):
            allowed = (*trusted, *_PLAIN, *(_MODULES if issubclass(found, _KINDS) else ()))
        else:
            # Not those for segmentation and the like, nor get_model (of _api), which may download a part unasked.
            is_maker = home.startswith("imgclf.models.") or re.fullmatch(r"torchvision\.models\.[a-z]\w*\.", home)
            makes = inspect.isfunction(found) and found.__annotations__.get("return") is not str  # which may be a path
            allowed = (*trusted, home) if makes and is_maker else trusted
        if home.startswith(allowed):
            return None
    return f"a run folder may not build this; if you know that it does no harm, add 'trust=[{module or target}.]'"
