"""The command line: Hydra composes, a mistake is told in one line, and what does the work is imported last."""

import argparse
import os
import pkgutil
import re
import shlex
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import hydra
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, read_write

from imgclf import threads
from imgclf.arguments import CONF, arguments
from imgclf.data.folders import class_folders
from imgclf.distributed import COMMAND, process_count
from imgclf.errors import InputError, Interrupted, say, tell
from imgclf.hydra_errors import explained

# Hydra holds conf/hydra/launcher/ against its plugins' types, which is welcome, and warns of it; its plugin hands
# Optuna's samplers settings that newer versions drop. Here, not in a function: launchers' processes compose too.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema")
warnings.filterwarnings("ignore", category=FutureWarning, module=r"optuna\.")
# There is one; Hydra copies it with what it looks groups up in, for --help 126 times, which takes two seconds.
ConfigStore.__deepcopy__ = lambda self, _: self  # type: ignore[attr-defined]
# From Python 3.14 on argparse looks at every help text when it is added; that of Hydra's is made when it is shown.
argparse.ArgumentParser._check_help = lambda *_: None  # type: ignore[attr-defined]
# OmegaConf's loader is made of this one; libyaml's takes a fifth off the time of every start.
yaml.SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # type: ignore[misc]


_OTHERS = {  # what the other scripts do, imported when their configuration has been composed
    "evaluate": "imgclf.evaluate:evaluate",
    "predict": "imgclf.predict:predict",
    "report": "imgclf.report.terminal:report",
    "figures": "imgclf.figures.task:figures",
    "export": "imgclf.export:export",
    "prepare_kaggle": "imgclf.data.prepare_kaggle:prepare_kaggle",
}


def task(config: DictConfig) -> float | None:
    """What a script does."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:  # of scripts/train.py alone
        from imgclf.job import run_job

        return run_job(config)
    from imgclf.check import check

    function: Callable[[DictConfig], Any]
    if (other := _OTHERS.get(str(HydraConfig.get().job.config_name))) is not None:
        function = pkgutil.resolve_name(other)
    else:
        from imgclf.train import train as function
    try:
        check(config, function.__name__)
        function(config)
    except BaseException as error:
        sys.exit(tell(error))  # here, not through Hydra, which would print a line of its own first
    return None


def main(name: str) -> NoReturn:
    """Do what the command line says: compose conf/NAME.yaml, check it, do the script's work, exit."""
    os.environ[COMMAND] = shlex.join(sys.argv)
    os.environ["IMGCLF_GPUS"] = os.environ.get("CUDA_VISIBLE_DEVICES", "")  # for jobs that are to share these out
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then hands its errors over instead of printing them in its own way
    os.environ["PYTHONSAFEPATH"] = "1"  # no process that is started runs what lies in the working directory instead
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere unasked
    # Under `uv run` Ray would copy the working directory, pictures and all, and run its jobs in a new environment.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    for signum in (signal.SIGINT, signal.SIGTERM):  # a KeyboardInterrupt Lightning would make a failure
        signal.signal(signum, _interrupt)
    code = 0
    try:
        threads.choose_spin()
        name, sys.argv[1:] = arguments(name, sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=name)(task)()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        code = tell(explained(error, name))
    try:
        if "imgclf.sweep" in sys.modules:  # not in Hydra's callback, which is left out where a sweeper raises
            code = max(sys.modules["imgclf.sweep"].finish(), code)
        say(end="")  # what was printed goes out
    except BaseException as error:
        code = max(tell(error), code)
    sys.exit(code)


def _interrupt(signum: int, frame: Any) -> NoReturn:
    if (stop_jobs := getattr(sys.modules.get("imgclf.sweep"), "stop_jobs", None)) is not None:  # it is imported whole
        stop_jobs(signum)
    raise Interrupted(signum)


def compose(overrides: Sequence[str] = ()) -> DictConfig:
    """The configuration of a command, for use from Python: ``imgclf.fit(imgclf.compose(["model=lenet"]))``.

    Raises InputError: something in it is wrong.
    """
    from imgclf.build import frozen
    from imgclf.check import check

    GlobalHydra.instance().clear()
    name, given = arguments("train", list(overrides))
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra.compose(name, given, return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        folder = str(Path(config.hydra.run.dir).absolute())
        with read_write(config.hydra):
            config.hydra.runtime.output_dir = folder
        HydraConfig.instance().set_config(config)
        own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        values: dict[str, Any] = OmegaConf.to_container(own, resolve=True)  # type: ignore[assignment]
        plain = OmegaConf.create(values | frozen(own) | {"folder": folder})
        check(plain, "train", str(own))
    except Exception as error:
        raise explained(error, name, given) from error
    return plain


def _job_folder(dirname: str) -> str:
    """The name of a sweep's job: what sets it apart, ``optimizer.lr@0.1+seed@2``, in at most 100 characters."""
    dirname = dirname.lstrip("+")
    name = re.sub(r"[^A-Za-z0-9@+._=-]+", "_", dirname)
    if name == dirname and len(name) <= 100:
        return name or "0"
    return f"{name[:91]}-{sha256(dirname.encode()).hexdigest()[:8]}"


def _gpus_of_a_job(accelerator: str, devices: Any) -> int:
    """How many GPUs a launcher that shares them out is to give a job: it hides those that a job has not asked for."""
    import torch

    if accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available()):
        return 0
    return process_count(OmegaConf.create({"accelerator": accelerator, "devices": devices}))


def _of_weights(what: str, otherwise: Any, *, _root_: DictConfig) -> Any:
    """Mean, std or size of the images that the weights to start from were made for; ``otherwise`` where none are."""
    net, source = OmegaConf.select(_root_, "model.net"), _root_.get("init_from")
    is_library = OmegaConf.is_dict(net) and str(net.get("_target_")).startswith("imgclf.models.torchvision_net.")
    if source and Path(source, ".hydra", "config.yaml").is_file():
        from imgclf.ranges import mismatch
        from imgclf.run_folder import RunFolder

        found = RunFolder(source).read_config()["data"].get({"size": "resize"}.get(what, what))
        if mismatch(found, int | list[float] | None):  # whoever has written it: Hydra would build what it names
            raise InputError(f"init_from={source}: its {what} of images, {found}, is no number")
    elif is_library and net.get("weights"):
        from imgclf.models.torchvision_net import preprocessing

        found = preprocessing(net)[what]
    else:
        found = None
    if found and what != "size":  # for grey pictures the mean of the colours; for coloured the grey value, three times
        channels = len(otherwise) if isinstance(otherwise, Sequence) else _root_.data.in_channels
        found = list(found) if channels == len(found) else channels * [sum(found) / len(found)]
    found = found or otherwise
    return OmegaConf.create(found) if isinstance(found, list) else found


def _least(*values: Any) -> Any:
    return None if None in values else min(values)  # a value that is lacking is told of where it stands


for _resolver in (_of_weights, _job_folder, class_folders, len, _least, _gpus_of_a_job):
    OmegaConf.register_new_resolver(_resolver.__name__.lstrip("_"), _resolver, replace=True)
