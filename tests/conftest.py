"""What several tests share."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starter import Started, Starter

# Test processes run side by side, one a core; two threads in each would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]

# Rooms whose files start many runs come first, so that no core waits for one long file at the end.
LONG_ROOMS = ("engines", "trust", "scripts", "sweep", "bad_input", "fuzz", "test_readme.py")

Door = Callable[..., subprocess.CompletedProcess[str]]
Doors = Callable[[Path], Door]
Start = Callable[..., Started]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        room = item.path.relative_to(ROOT / "tests").parts[0]
        return LONG_ROOMS.index(room) if room in LONG_ROOMS else len(LONG_ROOMS)

    items.sort(key=rank)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name tests by the number of bytes they are given: every test process has to come to the same names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session", autouse=True)
def counted() -> dict[str, str]:
    """The variables by which Python programs that are started know that they count in the coverage.

    Importing torch takes half as long again where it counts. So of the programs that import it anew only those of
    tests marked ``counted`` do; scripts that the starter runs always do.
    """
    name = "COVERAGE_PROCESS_CONFIG"
    return {name: os.environ.pop(name)} if name in os.environ else {}


@pytest.fixture(autouse=True)
def _counts_or_not(request: pytest.FixtureRequest, counted: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("counted"):
        for name, value in counted.items():
            monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def starter(counted: dict[str, str]) -> Iterator[Starter]:
    """Runs scripts without their having to import torch first."""
    process = Starter(counted)
    yield process
    process.close()


# Variables that a script reads, or that become of use as late as its imports.
READ_LATER = {"PYTHONPATH", "IMGCLF_TRACEBACK"}


def _environment() -> dict[str, str]:
    # One thread: other processes of the test run would make two wait for each other, and numbers depend on it.
    return {"OMP_NUM_THREADS": "1"} | {
        k: v
        for k, v in os.environ.items()
        if k not in ("PYTHONDONTWRITEBYTECODE", "HYDRA_FULL_ERROR", "IMGCLF_COMMAND")
    }


def _read_at_start(env: dict[str, str]) -> bool:
    """Whether Python, or one of the libraries when it is imported, would do something else for these variables."""
    folders = env.get("PYTHONPATH", "").split(os.pathsep)
    return not env.keys() <= READ_LATER or any((Path(folder) / "sitecustomize.py").exists() for folder in folders)


@pytest.fixture(scope="session")
def doors(request: pytest.FixtureRequest) -> Doors:
    """The door of any folder, for what several tests share: ``doors(folder)("train.py", "seed=1")``."""

    def door_of(folder: Path) -> Door:
        def run(script: str, *arguments: str, expect: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
            environment = _environment() | env
            command = [str(ROOT / "scripts" / script), *arguments]
            # Launchers start processes that import the main module again, but for joblib when it has one job at a time.
            launched = any(a.startswith("hydra/launcher=") and a != "hydra/launcher=basic" for a in arguments)
            launched = launched and "hydra.launcher.n_jobs=1" not in arguments
            if environment["OMP_NUM_THREADS"] == "1" and not launched and not _read_at_start(env):
                with tempfile.TemporaryDirectory() as out:
                    starter = request.getfixturevalue("starter")
                    done = starter.run(command, folder, environment, Path(out), seconds=300)
            else:
                done = subprocess.run(
                    [sys.executable, *command],
                    cwd=folder,
                    env=environment,
                    capture_output=True,
                    text=True,
                    stdin=subprocess.DEVNULL,
                    timeout=300,
                )
            if expect is not None:
                assert done.returncode == expect, done.stdout + done.stderr
            # Warnings of Python and Lightning's form of them: each is mended, or hidden with a reason.
            assert not re.search(r"Warning:|deprecated", done.stderr), done.stderr
            return done

        return run

    return door_of


@pytest.fixture
def door(tmp_path: Path, doors: Doors) -> Door:
    """Run a script as a user does, in an empty folder: ``door("train.py", "seed=1")``."""
    return doors(tmp_path)


@pytest.fixture
def start(tmp_path: Path, starter: Starter) -> Start:
    """Begin a training in an empty folder, to look at it or stop it: ``start("seed=1", PYTHONPATH="nets")``."""

    def begin(*arguments: str, **env: str) -> Started:
        command = [str(ROOT / "scripts" / "train.py"), *arguments]
        return starter.start(command, tmp_path, _environment() | env, tmp_path / "printed.txt")

    return begin
