"""Runs of scripts/train.py that go on while a test looks at them, or stops them."""

import os
import subprocess
import sys
from pathlib import Path


def start(root: Path, folder: Path, *arguments: str, group: bool = False, **variables: str) -> subprocess.Popen[str]:
    """Start scripts/train.py in a folder; ``group`` keeps signals to it from the tests."""
    command = [sys.executable, str(root / "scripts" / "train.py"), *arguments]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=group,
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a process that is to come to its end."""
    output = process.communicate(timeout=600)[0]
    assert process.returncode == 0, output
