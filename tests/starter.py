"""Scripts run as a user runs them, but for the four seconds in which Python imports torch and Lightning.

A process imports them once, does nothing else, and splits off a copy of itself (fork) for each script to run. The copy
has the arguments, folder, environment and output of its own, and ends as a Python of its own would.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

from imgclf.leaving import leave

# What scripts that train import; scripts that need less are no slower for it.
IMPORTED = (
    "imgclf.run.train",
    "imgclf.run.evaluate",
    "imgclf.run.predict",
    "imgclf.run.figures",
    "imgclf.sweep.job",
)


class Starter:
    """The process, seen from the tests."""

    def __init__(self) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env=environment | {"OMP_NUM_THREADS": "1"},  # read when torch is imported
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self, command: list[str], cwd: Path, env: dict[str, str], out: Path, seconds: float
    ) -> "subprocess.CompletedProcess[str]":
        """Run ``command``, a script and its arguments; ``out`` is a folder for what it prints.

        Raises:
            subprocess.TimeoutExpired: it took longer.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        files = [str(out / "stdout"), str(out / "stderr")]
        request = {"command": command, "cwd": str(cwd), "env": env, "files": files, "seconds": seconds}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        code = json.loads(self._process.stdout.readline())
        printed, told = (Path(file).read_text(encoding="utf-8") for file in files)
        if code is None:
            raise subprocess.TimeoutExpired(command, seconds, printed, told)
        return subprocess.CompletedProcess(command, code, printed, told)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve() -> None:
    """Answer requests until the tests are over."""
    for name in IMPORTED:
        __import__(name)
    answers = os.dup(1)
    for line in sys.stdin:
        request = json.loads(line)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.close(answers)
            become(request)
        os.write(answers, f"{json.dumps(wait(pid, request['seconds']))}\n".encode())


def wait(pid: int, seconds: float) -> int | None:
    """The exit code as :mod:`subprocess` has it; None for one that had to be ended."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None
        time.sleep(pause)
        pause = min(1.2 * pause, 0.05)


def become(request: dict[str, Any]) -> NoReturn:
    """Be the Python that runs the script."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, file in enumerate((os.devnull, *request["files"])):
        target = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(target, number)
        os.close(target)
    sys.stdin = open(0)  # noqa: SIM115
    sys.argv = request["command"]
    script = request["command"][0]
    named = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    sys.path[:] = [str(Path(script).parent), *named, *(p for p in sys.path if p != str(Path(__file__).parent))]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit:
        raise  # to the interpreter, which knows what to do with its argument
    except BaseException:
        traceback.print_exc()
        leave(1)
    leave(0)


if __name__ == "__main__":
    serve()
