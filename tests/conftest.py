"""What tests share: scripts run as a user runs them, most of them in the process of the tests, which has torch."""

import functools
import gc
import hashlib
import http.server
import importlib
import logging
import os
import pkgutil
import re
import runpy
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import hydra
import hypothesis
import pytest

# Test processes run side by side, one a core; two threads in each would wait for one another. Before torch is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)  # the same examples each time
hypothesis.settings.load_profile("same")
with warnings.catch_warnings():
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", kind)  # as Python does
    import imgclf.cli

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
    """Long rooms first, so that no core waits for a long file at the end; a file in one process."""
    items.sort(key=lambda item: not LONG_ROOMS & {*item.path.parts})
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.relative_to(ROOT).as_posix()))


def run_here(command: list[str], folder: Path, environment: dict[str, str]) -> Done:
    """Run a script and its arguments in a copy of this process, which has loaded all that it needs."""
    load_all()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out, tempfile.TemporaryFile("w+", encoding="utf-8") as err:
        child = os.fork()
        if child == 0:
            for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), out.fileno(), err.fileno())):
                os.dup2(file, number)
            become(command, folder, environment)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return Done(command, code, *(file.seek(0) or file.read() for file in (out, err)))


def become(command: list[str], folder: Path, environment: dict[str, str]) -> NoReturn:
    """What a process that has just split off becomes: the script's, to its end."""
    gc.freeze()  # a collection would touch, and so copy, all of torch
    code, encoding = 1, environment.get("PYTHONIOENCODING", "utf-8")
    try:
        sys.stdout, sys.stderr = (open(n, "w", 1, encoding, closefd=False) for n in (1, 2))  # noqa: SIM115
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.argv = list(command)
        named = [place for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]
        sys.path[:0] = [str(Path(command[0]).parent), *named]
        if any(Path(place, "imgclf").is_dir() for place in named):  # another copy of the package
            for name in [name for name in sys.modules if name.partition(".")[0] == "imgclf"]:
                del sys.modules[name]
        logging.root.handlers.clear()  # pytest's
        warnings.filters[:], warnings.showwarning = FILTERS, told
        signal.signal(signal.SIGINT, signal.default_int_handler)
        runpy.run_path(command[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


@functools.cache
def load_all() -> None:
    """What each process that splits off from this one would have to load, and to learn of Hydra's grammars."""
    for name in ("torch.utils.tensorboard", *(m.name for m in pkgutil.walk_packages(imgclf.__path__, "imgclf."))):
        importlib.import_module(name)
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra.compose("train", ["model=lenet"])


def told(message: Warning | str, category: type[Warning], name: str, line: int, *_: Any) -> None:
    """As Python tells of a warning, not as pytest does."""
    print(warnings.formatwarning(message, category, name, line), file=sys.stderr)


def run_anew(command: list[str], folder: Path, environment: dict[str, str]) -> Done:
    """Run it in a Python of its own: for launchers, and what counts before torch is loaded."""
    # A shell that runs the tests in its background has them ignore Ctrl-C, and so would this program.
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 900}
    allow = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, preexec_fn=allow, **pipes)
    return Done(command, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def doors() -> Doors:
    """The door of any folder, for what several tests share: ``doors(folder)("train.py", "seed=1")``."""

    def door_of(folder: Path) -> Door:
        def run(script: str, *arguments: str, expect: int | None = 0, fresh: bool = False, **env: str) -> Done:
            import torch

            environment = {k: v for k, v in os.environ.items() if k not in NOT_A_USERS} | {"OMP_NUM_THREADS": "1"} | env
            command = [str(ROOT / "scripts" / script), *arguments]
            # A copy of a process that has used a GPU cannot compute.
            done = (run_anew if fresh or torch.accelerator.is_available() else run_here)(command, folder, environment)
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


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which a server of this machine gives its files."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
