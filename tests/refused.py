"""Commands that cannot do what they are asked for, run in the process of the tests.

Starting Python with torch takes seconds and most of a hundred cases would do nothing else, so the scripts run here, as
``__main__`` and with a command line, and what they leave in the process is put back.
"""

import atexit
import contextlib
import gc
import hashlib
import io
import os
import re
import runpy
import shlex
import stat
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from PIL import Image

import imgclf.cli  # noqa: F401 -- its resolvers are there before state is kept and put back
from imgclf.images.kaggle import CLASSES

SCRIPTS = Path(__file__).parents[1] / "scripts"

# What a command may leave behind although it was refused: locks, folders that a decoded image would have gone to, and
# the folder of the run, with error.txt.
_KEPT = (".lock", ".decoded", "logs")


class Case(NamedTuple):
    """A row of a table.

    Args:
        id: short, of its own within the table.
        given: makes the input in the folder that the command is run in.
        command: script and arguments, as a shell would split them.
        message: pattern that the message must contain; a dot stands for line breaks too.
    """

    id: str
    given: Callable[[Path], object]
    command: str
    message: str


class Answer(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


def nothing(folder: Path) -> None:
    """No input is needed."""


def run_here(command: str, **environment: str) -> Answer:
    """Run ``train.py seed=1`` in this process and working directory."""
    script, *arguments = shlex.split(command)
    path = str(SCRIPTS / script)
    return _captured(lambda: runpy.run_path(path, run_name="__main__"), [path, *arguments], environment)


def _captured(program: Callable[[], object], argv: list[str], environment: dict[str, str]) -> Answer:
    from imgclf.job import isolated  # loads torch

    out, err = io.StringIO(), io.StringIO()
    code = 0
    with _fresh_hydra(), isolated(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        os.environ.pop("HYDRA_FULL_ERROR", None)
        os.environ.update(environment)
        before, sys.argv = sys.argv, argv
        try:
            program()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception:
            traceback.print_exc()
            code = 1
        finally:
            sys.argv = before
    return Answer(code, out.getvalue(), err.getvalue())


@cache
def _settle() -> None:
    """What takes a moment and need be done only once: finding Hydra's plugins, and what garbage collection looks at."""
    Plugins.instance()
    gc.collect()
    gc.freeze()  # each command ends with a collection, which would go through all of torch
    atexit.register(gc.unfreeze)


@contextlib.contextmanager
def _fresh_hydra() -> Iterator[None]:
    _settle()
    state = Singleton.get_state()
    try:
        yield
    finally:
        Singleton.set_state(state)


def contents(folder: Path) -> dict[str, tuple[int, str]]:
    """Mode and checksum of everything beneath a folder, by its path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if any(part in _KEPT for part in path.relative_to(folder).parts):
            continue
        mode = path.lstat().st_mode
        is_readable = stat.S_ISREG(mode) and os.access(path, os.R_OK)
        text = hashlib.sha256(path.read_bytes()).hexdigest() if is_readable else ""
        found[path.relative_to(folder).as_posix()] = (mode, text)
    return found


def refuse(case: Case, folder: Path, may_leave: tuple[str, ...] = ()) -> Answer:
    """Make the input in an empty folder, which is the working directory, run the command and check what it did.

    Args:
        case: the row.
        folder: the working directory.
        may_leave: paths of what may be there afterwards without having been there before.
    """
    case.given(folder)
    before = contents(folder)
    answer = run_here(case.command)
    told = answer.err
    assert answer.code == 2, f"exit code {answer.code}\n{answer.out}{told}"
    assert "Traceback" not in told, told
    assert len(re.findall(r"^(?:process \d+: )?error: ", told, re.MULTILINE)) == 1, told
    assert "Warning" not in told, told
    assert re.search(case.message, told, re.DOTALL), told
    assert not re.search(r"^epoch \d", told, re.MULTILINE), f"time was spent before it was told:\n{told}"
    after = {path: what for path, what in contents(folder).items() if path in before or path not in may_leave}
    assert after == before, f"something was left, changed or lost:\n{told}"
    return answer


def png(number: int, mode: str = "RGB", size: int = 32, kind: str = "PNG") -> bytes:
    """An image that differs for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, kind)
    return stream.getvalue()


@cache
def kaggle() -> dict[str, bytes]:
    """Files of Kaggle's competition by name: 40 training and 4 test images, and the two lists."""
    files = {f"train/{i}.png": png(i) for i in range(1, 41)} | {f"test/{i}.png": png(i) for i in range(1, 5)}
    files["trainLabels.csv"] = ("id,label\n" + "".join(f"{i},{CLASSES[i % 10]}\n" for i in range(1, 41))).encode()
    files["sampleSubmission.csv"] = b"id,label\n1,cat\n2,cat\n3,cat\n4,cat\n"
    return files
