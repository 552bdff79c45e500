"""Where a result comes from: command, code, machine, versions."""

import hashlib
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "torchmetrics", "hydra-core", "omegaconf", "numpy")
COMMAND = "IMGCLF_COMMAND"  # in the environment of all processes that work for a command: as it was typed


def provenance() -> dict[str, Any]:
    """What run.json says of a run at its start. Never fails for lack of git."""
    return {
        "command": os.environ.get(COMMAND, shlex.join(sys.argv)),
        "git": _git(),
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def now() -> str:
    """The time in UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git() -> dict[str, Any] | None:
    """Commit, and which files differ from it; None outside a repository or without git."""
    source = Path(__file__).parent
    try:
        commit = _output("git", "-C", str(source), "rev-parse", "HEAD")
        changed = _output("git", "-C", str(source), "status", "--porcelain").splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    about = {"commit": commit.strip(), "dirty": bool(changed), "changed": changed[:50]}
    if changed:
        try:
            difference = _output("git", "-C", str(source), "diff", "HEAD", "--binary", "--no-ext-diff", "--no-color")
        except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
            return about
        # Whether two runs had the same changes; files that git does not follow are named in `changed` alone.
        about["diff"] = hashlib.blake2b(difference.encode(), digest_size=8).hexdigest()
    return about


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout
