"""A command ends soon, and with all that has to happen at its end."""

import json
import os
import pstats
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import atexit
import sys
atexit.register(sys.stdout.write, "first, so last")  # without a line's end
from imgclf.leaving import leave
import concurrent.futures, logging, sys, tempfile, threading, time

class Slow:
    def __del__(self):  # of what torch has made, there are hundreds of thousands
        print("taken apart")

slow = Slow()
slow.itself = slow
atexit.register(print, "registered")
folder = tempfile.TemporaryDirectory()
print(folder.name)
threading.Thread(target=lambda: (time.sleep(0.3), print("thread"))).start()
concurrent.futures.ThreadPoolExecutor().submit(print, "pool")
logging.basicConfig(filename=sys.argv[1])
logging.getLogger().addHandler(logging.handlers.MemoryHandler(9, target=logging.getLogger().handlers[0]))
logging.warning("logged")
leave(json.loads(sys.argv[2]))
"""


def run(program: str, *arguments: str, before: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *before, program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture
def program(tmp_path: Path) -> str:
    file = tmp_path / "program.py"
    file.write_text("import json, logging.handlers\n" + PROGRAM)
    return str(file)


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 3), (None, 0), (True, 1)])
def test_threads_exit_functions_output_and_code_are_as_ever(
    program: str, tmp_path: Path, code: object, expected: int
) -> None:
    done = run(program, str(tmp_path / "log"), json.dumps(code))
    assert done.returncode == expected
    assert done.stderr == ""
    folder, *lines = done.stdout.splitlines()
    assert sorted(lines[:2]) == ["pool", "thread"]
    assert lines[2:] == ["registered", "first, so last"]
    assert not Path(folder).exists()
    assert "logged" in (tmp_path / "log").read_text()


def test_a_message_in_the_place_of_a_code_is_printed(program: str, tmp_path: Path) -> None:
    done = run(program, str(tmp_path / "log"), '"gone wrong"')
    assert (done.returncode, done.stderr) == (1, "gone wrong\n")


def test_a_profiler_has_its_say(program: str, tmp_path: Path) -> None:
    profile = str(tmp_path / "profile")
    done = run(program, str(tmp_path / "log"), "3", before=("-m", "cProfile", "-o", profile))
    assert done.returncode == 3
    assert any(name == "leave" for _, _, name in pstats.Stats(profile).stats)  # type: ignore[attr-defined]


def test_a_reader_who_has_left_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text("from imgclf.leaving import leave\nprint('x' * 10)\nleave(0)\n")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen([sys.executable, str(file)], env=environment, **pipes)  # type: ignore[call-overload]
    assert process.stdout is not None
    process.stdout.close()
    assert process.communicate()[1] == b""
    assert process.returncode == 0
