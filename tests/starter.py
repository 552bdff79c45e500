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
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

# What scripts that train import; scripts that need less are no slower for it.
IMPORTED = (
    "imgclf.check",
    "imgclf.trust",
    "imgclf.sweep",
    "imgclf.predict",
    "imgclf.figures.task",
)


class Starter:
    """The process, seen from the tests."""

    def __init__(self, counted: Mapping[str, str]) -> None:
        """``counted``: variables by which a Python counts in the coverage; empty where none is measured."""
        self._counted = dict(counted)
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
        files = [out / "stdout", out / "stderr"]
        started = self._start(command, cwd, env, files)
        try:
            code = started.wait(seconds)
        except subprocess.TimeoutExpired as error:
            started.kill()
            started.wait(seconds)
            raise subprocess.TimeoutExpired(command, seconds, *(file.read_text() for file in files)) from error
        printed, told = (file.read_text(encoding="utf-8") for file in files)
        return subprocess.CompletedProcess(command, code, printed, told)

    def start(self, command: list[str], cwd: Path, env: dict[str, str], file: Path) -> "Started":
        """Begin to run ``command``; ``file`` gets all that it prints."""
        return self._start(command, cwd, env, [file, file])

    def _start(self, command: list[str], cwd: Path, env: dict[str, str], files: list[Path]) -> "Started":
        request = {"command": command, "cwd": str(cwd), "env": env, "files": [str(file) for file in files]}
        return Started(self, self.ask(**request, counted=self._counted), command, files[0])

    def ask(self, **request: Any) -> Any:
        """What :func:`serve` answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Started:
    """A script that goes on beside the tests, with what they need of :class:`subprocess.Popen`."""

    def __init__(self, starter: Starter, pid: int, command: list[str], file: Path) -> None:
        self._starter, self._command, self._file = starter, command, file
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if self.returncode is None:
            self.returncode = self._starter.ask(pid=self.pid, seconds=0)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """The exit code; raises subprocess.TimeoutExpired where there is none within so many seconds."""
        if self.returncode is None:
            self.returncode = self._starter.ask(pid=self.pid, seconds=timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self._command, timeout, self._file.read_text())
        return self.returncode

    def communicate(self, timeout: float = 300) -> tuple[str, None]:
        """All that it has printed when it is over."""
        self.wait(timeout)
        return self._file.read_text(encoding="utf-8"), None

    def wait_for(self, file: Path, lines: int = 1) -> None:
        """Until a file has so many lines; raises AssertionError where the script ends before."""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and self.poll() is None:
            if file.exists() and file.read_text().count("\n") >= lines:
                return
            time.sleep(0.005)
        raise AssertionError(f"no line {lines} in {file}: {self.communicate()[0]}")

    def send_signal(self, signum: int) -> None:
        """To the process, which stands as a zombie until it has been waited for, so that the number stays its own."""
        if self.returncode is None:
            os.kill(self.pid, signum)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def serve() -> None:
    """Answer requests until the tests are over."""
    for name in IMPORTED:
        __import__(name)
    answers = os.dup(1)
    for line in sys.stdin:
        request = json.loads(line)
        answer = wait(request["pid"], request["seconds"]) if "pid" in request else fork(request, answers)
        os.write(answers, f"{json.dumps(answer)}\n".encode())


def fork(request: dict[str, Any], answers: int) -> int:
    """The number of the process that runs the script."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(answers)
        become(request)
    return pid


def wait(pid: int, seconds: float) -> int | None:
    """The exit code as :mod:`subprocess` has it; None for one that is not over within so many seconds."""
    deadline = time.monotonic() + seconds
    pause = 0.002
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= deadline:
            return None
        time.sleep(pause)
        pause = min(1.2 * pause, 0.05)


def count(variables: Mapping[str, str]) -> None:
    """Have this process count in the coverage, but no program that it starts unless the test has them count too."""
    import coverage

    started_count = variables.keys() <= os.environ.keys()
    os.environ.update(variables)
    coverage.process_startup()
    if not started_count:
        for name in variables:
            del os.environ[name]


def become(request: dict[str, Any]) -> NoReturn:
    """Be the Python that runs the script."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    if request["counted"]:
        count(request["counted"])
    for number, file in enumerate((os.devnull, *request["files"])):
        target = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)  # both may be one file
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
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    serve()
