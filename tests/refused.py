"""Commands that cannot do what they are asked for, run in the process of the tests.

Starting Python with torch takes seconds and most of a hundred cases would do nothing else, so the scripts run here, as
``__main__`` and with a command line, and what they leave in the process is put back.
"""

import contextlib
import copy
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
from pathlib import Path
from typing import NamedTuple

from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton

SCRIPTS = Path(__file__).parents[1] / "scripts"

# What a command may leave behind although it was refused: locks, and folders that a decoded image would have gone to.
_KEPT = (".lock", ".decoded")


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
    from imgclf.sweep.isolation import isolated  # loads torch

    script, *arguments = shlex.split(command)
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with _fresh_hydra(), isolated(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        os.environ.pop("HYDRA_FULL_ERROR", None)
        os.environ.update(environment)
        argv, sys.argv = sys.argv, [str(SCRIPTS / script), *arguments]
        try:
            runpy.run_path(sys.argv[0], run_name="__main__")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except Exception:
            traceback.print_exc()
            code = 1
        finally:
            sys.argv = argv
    return Answer(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _fresh_hydra() -> Iterator[None]:
    Plugins.instance()  # finding them takes a moment; once will do
    state = copy.deepcopy(Singleton.get_state())
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


def refuse(case: Case, folder: Path) -> Answer:
    """Make the input in an empty folder, which is the working directory, run the command and check what it did."""
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
    assert contents(folder) == before, f"something was left, changed or lost:\n{told}"
    return answer
