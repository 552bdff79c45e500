"""What several tests share."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Test processes run side by side, one a core; two threads in each would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]

Door = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The key that seals run folders lies in a folder of the tests', not in that of whoever runs them."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """Run a script as a user does, in an empty folder: ``door("train.py", "seed=1")``."""

    def run(script: str, *arguments: str, expect: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
        # One thread: other processes of the test run would make two wait for each other, and numbers depend on it.
        environment = {"OMP_NUM_THREADS": "1"} | {
            k: v for k, v in os.environ.items() if k not in ("PYTHONDONTWRITEBYTECODE", "HYDRA_FULL_ERROR")
        }
        done = subprocess.run(
            [sys.executable, str(ROOT / "scripts" / script), *arguments],
            cwd=tmp_path,
            env=environment | env,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
        )
        if expect is not None:
            assert done.returncode == expect, done.stdout + done.stderr
        return done

    return run
