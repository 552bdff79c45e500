"""What tests share: scripts run as a user runs them, most of them in the process of the tests, which has torch."""

import atexit
import contextlib
import gc
import hashlib
import importlib
import logging
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from hydra.core.singleton import Singleton

# Test processes run side by side, one a core; two threads in each would wait for one another. Before torch is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
with warnings.catch_warnings():
    import imgclf.cli  # noqa: F401 -- its resolvers are there before Hydra's state is first put back

    FILTERS = list(warnings.filters)  # those of imgclf.cli among them; pytest forgets them after each test

ROOT = Path(__file__).parents[1]
LONG_ROOMS = {"engines", "trust", "run", "callbacks"}
NOT_A_USERS = ("PYTHONDONTWRITEBYTECODE", "HYDRA_FULL_ERROR", "IMGCLF_COMMAND")

Done = subprocess.CompletedProcess[str]
Door = Callable[..., Done]
Doors = Callable[[Path], Door]
Refused = Callable[..., str]
Undisturbed = Callable[..., Path]

# Lightning's Trainer for tests: on the CPU, and writing nothing of its own.
QUIET: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
QUIET |= {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}


def quiet_trainer(**settings: Any) -> Any:
    """A Trainer with ``settings`` beside, or in place of, :data:`QUIET`; name default_root_dir where it saves."""
    import pytorch_lightning as pl

    return pl.Trainer(**(QUIET | settings))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long rooms first, so that no core waits for one long file at the end."""
    items.sort(key=lambda item: not LONG_ROOMS & {*item.path.parts})


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name tests by the number of bytes they are given: every test process has to come to the same names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@contextlib.contextmanager
def _put_back() -> Iterator[None]:
    """Put back what a command changes in its process, and a sweep's own isolation of its jobs leaves."""
    from imgclf.job import isolated  # loads torch

    argv, path, modules, singletons = sys.argv, list(sys.path), set(sys.modules), Singleton.get_state()
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    loggers = [x for x in (logging.root, *logging.root.manager.loggerDict.values()) if isinstance(x, logging.Logger)]
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    logging.root.handlers[:] = []  # pytest's, which a Python of its own has not
    try:
        with isolated():
            yield
    finally:
        Singleton.set_state(singletons)
        for logger, kept, level, propagate in before:
            for handler in {*logger.handlers} - {*kept}:
                handler.close()
            logger.handlers[:], logger.level, logger.propagate = kept, level, propagate
        for signum, handle in handlers.items():
            signal.signal(signum, handle)
        added = [folder for folder in sys.path if folder not in path]
        sys.argv, sys.path[:] = argv, path
        for name, module in list(sys.modules.items()):  # of the user's own, which another test may have too
            if name not in modules and str(Path(getattr(module, "__file__", None) or "").parent) in added:
                del sys.modules[name]


@contextlib.contextmanager
def _printed_to(file: IO[str], number: int, name: str) -> Iterator[None]:
    """Have a file get what this process and those that it starts print."""
    before, ours = os.dup(number), getattr(sys, name)
    ours.flush()
    os.dup2(file.fileno(), number)
    setattr(sys, name, open(number, "w", buffering=1, encoding="utf-8", closefd=False))  # noqa: SIM115
    try:
        yield
    finally:
        getattr(sys, name).flush()
        setattr(sys, name, ours)
        os.dup2(before, number)
        os.close(before)


def run_here(command: list[str], folder: Path, environment: dict[str, str]) -> Done:
    """Run a script and its arguments in this process, as a Python of its own would."""
    if not gc.get_freeze_count():
        gc.freeze()  # each command ends with a collection, which would go through all of torch
        atexit.register(gc.unfreeze)
    code, (out, err) = 0, [tempfile.TemporaryFile("w+", encoding="utf-8") for _ in range(2)]  # noqa: SIM115
    with out, err:
        with _put_back(), _printed_to(out, 1, "stdout"), _printed_to(err, 2, "stderr"):
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(folder)
            sys.argv = list(command)  # which the program may change
            named = [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]
            sys.path[:0] = [str(Path(command[0]).parent), *named]
            importlib.invalidate_caches()
            with warnings.catch_warnings(record=True) as warned:
                warnings.filters[:] = FILTERS
                for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                    warnings.simplefilter("ignore", kind)  # as Python does
                try:
                    runpy.run_path(command[0], run_name="__main__")
                except SystemExit as end:
                    code = end.code if isinstance(end.code, int) else int(end.code is not None)
                except Exception:
                    traceback.print_exc()
                    code = 1
            for w in warned:
                print(warnings.formatwarning(w.message, w.category, w.filename, w.lineno), file=sys.stderr)
        return Done(command, code, *(file.seek(0) or file.read() for file in (out, err)))


def run_anew(command: list[str], folder: Path, environment: dict[str, str]) -> Done:
    """Run it in a Python of its own: for signals that kill, launchers, and what counts before torch is loaded."""
    # A shell that runs the tests in its background has them ignore Ctrl-C, and so would this program.
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 300}
    allow = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, preexec_fn=allow, **pipes)
    return Done(command, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def doors() -> Doors:
    """The door of any folder, for what several tests share: ``doors(folder)("train.py", "seed=1")``."""

    def door_of(folder: Path) -> Door:
        def run(script: str, *arguments: str, expect: int | None = 0, fresh: bool = False, **env: str) -> Done:
            environment = {k: v for k, v in os.environ.items() if k not in NOT_A_USERS} | {"OMP_NUM_THREADS": "1"} | env
            command = [str(ROOT / "scripts" / script), *arguments]
            done = (run_anew if fresh else run_here)(command, folder, environment)
            if expect is not None:
                assert done.returncode == expect, done.stdout + done.stderr
            # Warnings of Python and Lightning's form of them: each is mended, or hidden with a reason.
            told = re.sub(r".*resource_tracker.*", "", done.stderr)  # joblib's, of workers that were killed
            assert not re.search(r"Warning:|deprecated", told), done.stderr
            return done

        return run

    return door_of


@pytest.fixture
def door(tmp_path: Path, doors: Doors) -> Door:
    """Run a script as a user does, in an empty folder: ``door("train.py", "seed=1")``; ``fresh``: in a new Python."""
    return doors(tmp_path)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Undisturbed:
    """The folder of a run of these settings by itself, made once: ``undisturbed("seed=1")``."""
    runs: dict[tuple[str, ...], Path] = {}

    def run(*settings: str, **env: str) -> Path:
        if settings not in runs:
            runs[settings] = tmp_path_factory.mktemp("undisturbed") / "run"
            doors(runs[settings].parent)("train.py", *settings, "hydra.run.dir=run", **env)
        return runs[settings]

    return run


def contents(folder: Path) -> dict[str, tuple[int, str]]:
    """Mode and checksum of everything beneath a folder, but for locks, caches, and the folders of refused runs."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if not {".lock", ".decoded", "logs"} & set(path.relative_to(folder).parts):
            text = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            found[path.relative_to(folder).as_posix()] = (path.lstat().st_mode, text)
    return found


@pytest.fixture
def refused(door: Door, tmp_path: Path) -> Refused:
    """Run what cannot be done: ``refused("train.py model=x", "model=x", "lenet")``; gives what was said.

    It has to be told in one message with these words in it, before any epoch, and to leave all files as they were.
    """

    def run(command: str, *words: str, **env: str) -> str:
        before = contents(tmp_path)
        told = door(*shlex.split(command), expect=2, **env).stderr
        assert "Traceback" not in told, told
        assert len(re.findall(r"^error: ", told, re.MULTILINE)) == 1, told
        assert not re.search(r"^epoch \d", told, re.MULTILINE), told
        assert [word for word in words if word not in told] == [], told
        assert contents(tmp_path) == before, told
        return told

    return run


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
