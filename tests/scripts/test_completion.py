"""Completion with TAB, typed into a real bash."""

import os
import pty
import select
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


class Bash:
    """An interactive shell."""

    def __init__(self, folder: Path) -> None:
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execvp("bash", ["bash", "--norc", "-i"])
        self.seen = ""

    def type_until(self, keys: str, expected: str, seconds: float = 60) -> None:
        os.write(self.terminal, keys.encode())
        self.seen = ""
        deadline = time.monotonic() + seconds
        while expected not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.terminal], [], [], 0.1)[0]:
                self.seen += os.read(self.terminal, 4096).decode(errors="replace")


@pytest.fixture
def bash(root: Path) -> Iterator[Bash]:
    if shutil.which("bash") is None or shutil.which("uv") is None:
        pytest.skip("no bash or no uv here")
    shell = Bash(root)
    yield shell
    os.close(shell.terminal)
    os.waitpid(shell.pid, 0)


def test_choices_and_keys_are_completed_and_listed(bash: Bash) -> None:
    bash.type_until("source scripts/complete.bash; echo loaded-$?\n", "loaded-0")
    bash.type_until("uv run scripts/train.py model=google\t", "model=googlenet")
    bash.type_until(" optimizer.mo\t", "optimizer.momentum=")
    bash.type_until("0.9 schedule=\t\t", "schedule=square_root")
    assert "schedule=cosine" in bash.seen


def test_nothing_is_run_that_a_file_is_named(bash: Bash, tmp_path: Path) -> None:
    (tmp_path / "x$(>$harm)").touch()
    bash.type_until(f"harm={tmp_path}/harm; source scripts/complete.bash; echo loaded-$?\n", "loaded-0")
    bash.type_until(f"uv run scripts/predict.py images={tmp_path}/\t", "x\\$\\(\\>\\$harm\\)")
    bash.type_until("\n", "error: ")
    assert not (tmp_path / "harm").exists()
