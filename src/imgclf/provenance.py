"""Where a run's numbers come from: command, code, machine, versions, images; and what differs between two runs."""

import hashlib
import logging
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml
from pytorch_lightning import Callback, LightningModule, Trainer

from imgclf.data.module import ImageData
from imgclf.distributed import COMMAND, cores, is_first
from imgclf.errors import InputError
from imgclf.run_folder import RunFolder, flat, write_whole

log = logging.getLogger(__name__)

_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy", "pillow")
_LARGEST_PATCH = 1_000_000  # bytes

# How entries of run.json begin that can change numbers.
_MATTER = (
    *("data", "git.commit", "git.changed", "git.diff", "device", "gpu", "processes", "threads", "precision"),
    *("deterministic", "channels_last", "instructions", "cpu", "versions", "python", "cuda", "cudnn", "platform"),
)


def provenance() -> dict[str, Any]:
    """What run.json says of a run at its start. Never fails for lack of git."""
    return {
        "command": os.environ.get(COMMAND) or shlex.join(sys.argv),
        "git": _git(),
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in _PACKAGES},
    }


def now() -> str:
    """The time in UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git() -> dict[str, Any] | None:
    """Commit, which files differ from it, and their patch, new files of src/ and conf/ with it; None outside a
    repository or without git, the patch also where a file is not UTF-8."""

    def git(*words: str, **environment: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *words]
        done = subprocess.run(command, capture_output=True, check=True, timeout=10, env=os.environ | environment)
        return done.stdout.decode(errors="surrogateescape")

    about: dict[str, Any] | None = None
    try:
        about = {"commit": git("rev-parse", "HEAD").strip()}
        changed = git("status", "--porcelain").splitlines()
        about |= {"dirty": bool(changed), "changed": changed[:50]}
        if changed:
            with tempfile.TemporaryDirectory() as place:  # the user's own index stays as it is
                own = {"GIT_INDEX_FILE": f"{place}/index"}
                shutil.copy2(Path(__file__).parent / git("rev-parse", "--git-path", "index").strip(), f"{place}/index")
                git("add", "--intent-to-add", "--", "../*.py", "../../conf/*.yaml", **own)
                patch = git("diff", "HEAD", "--binary", "--no-ext-diff", "--no-color", **own)
            content = patch.encode(errors="surrogateescape")
            about["diff"] = hashlib.blake2b(content, digest_size=8).hexdigest()
            is_text = content.decode(errors="replace") == patch
            about["patch"] = patch if is_text and len(patch) < _LARGEST_PATCH else None
    except (OSError, subprocess.SubprocessError):
        pass
    return about


def _machine(trainer: Trainer) -> dict[str, Any]:
    """What of a machine decides the last digits: sums over a batch are split over threads, and rounded accordingly."""
    device, cpuinfo = trainer.strategy.root_device, Path("/proc/cpuinfo")
    is_cuda = device.type == "cuda"
    told = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    named = re.search(r"^model name\s*: (.*)", told, re.MULTILINE)
    return {
        "cpu": named[1] if named else platform.processor() or platform.machine(),
        "cores": cores(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "spin": os.environ.get("GOMP_SPINCOUNT", os.environ.get("OMP_WAIT_POLICY", "default")),  # of waiting threads
        "processes": trainer.world_size,
        "device": device.type,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "gpu": torch.cuda.get_device_name(device) if is_cuda else None,
        "cuda": torch.version.cuda if is_cuda else None,
        "cudnn": torch.backends.cudnn.version() if is_cuda else None,  # type: ignore[no-untyped-call]
    }


class Record(Callback):
    """Write machine, precision and fingerprints of the data into run.json before the first step.

    Args:
        folder: of the run.
        data: of the run.
        before: contents of run.json when the run was begun, where this one continues it; empty where it does not.
        resuming: whether this is the same run.
    """

    def __init__(self, folder: RunFolder, data: ImageData, before: dict[str, Any], *, resuming: bool) -> None:
        self.folder, self.data, self.resuming = folder, data, resuming
        self.before = RunFolder(before["rerun_of"]).read_run() if "rerun_of" in before else before
        self.data.fingerprints = {} if is_first() else None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare and write."""
        if not is_first():
            return
        found = _machine(trainer) | {
            "train_images": len(self.data.train_set),
            "precision": str(trainer.precision),
            "channels_last": getattr(pl_module, "memory_format", None) is torch.channels_last,
            "data": dict(self.data.fingerprints or {}),
        }
        if self.resuming:
            then = self.before.get("data") or {}
            for part, there in found["data"].items():
                if any(key in then.get(part, {}) and then[part][key] != there[key] for key in ("images", "digest")):
                    told = f"resume={self.folder.path}: the {part} images have changed: {then[part]} then, {there} now"
                    raise InputError(f"{told}. Put the old ones back, or begin anew")
            found["data"] = then | found["data"]
        when = "before" if self.resuming else "the first time"
        warn_of_differences(self.before, self.folder.read_run() | found, when=when)
        self.folder.write_run(**found)
        config = self.folder.read_config()
        if "mean" in config["data"] and config["data"]["mean"] is None:  # measured, and from now on a part of the run
            config["data"] |= {"mean": list(self.data.mean or ()), "std": list(self.data.std or ())}
            write_whole(self.folder.config_file, yaml.safe_dump(config, sort_keys=False))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_first():
            self.folder.write_run(data=(self.folder.read_run().get("data") or {}) | (self.data.fingerprints or {}))


def warn_of_differences(before: dict[str, Any], after: dict[str, Any], *, when: str) -> None:
    """Say in what this start is not as the one before, or the first one, if it can change numbers; a line for each
    entry that both run.json have recorded."""
    one, other = flat(before), flat(after)
    if differing := [key for key in one if key.startswith(_MATTER) and key in other and one[key] != other[key]]:
        found = [f"{key}: {one[key]} then, {other[key]} now" for key in differing]
        log.warning("\n  ".join([f"not as {when}, so numbers may differ:", *found]))


def verdict(first: RunFolder, again: RunFolder) -> tuple[bool, str]:
    """Whether the numbers of two finished runs are the same, and a text that says so or which differ."""
    one, other = _numbers(first), _numbers(again)
    differing = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    if not differing:
        return True, f"the same numbers as {first.path}: every epoch and every final metric, to the last digit"
    told = f"other numbers than {first.path}: {', '.join(differing[:6])}"
    if again.read_run().get("device") == "cuda" and not again.read_run().get("deterministic"):
        told += "\na GPU may add in another order each time: trainer.deterministic=true forbids it"
    see = f"uv run scripts/report.py {shlex.quote(f'diff=[{first.path},{again.path}]')}"
    return False, f"{told}\nto see all that differs: {see}"


def _numbers(run: RunFolder) -> dict[str, Any]:
    """All figures of metrics.json and metrics.csv, but for what the clock says."""
    rows = {f"{name} of epoch {row['epoch']}": value for row in run.read_table() for name, value in row.items()}
    found = (run.read_metrics() or {}) | rows
    return {name: value for name, value in found.items() if not name.startswith(("seconds", "images_per_second"))}
