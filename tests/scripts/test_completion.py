"""Completion with TAB, typed into a real bash."""

import os
import pty
import select
import shutil
import time
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("uv")), reason="no bash or no uv here")
def test_choices_and_keys_are_completed_and_nothing_is_run_that_a_file_is_named(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execvp("bash", ["bash", "--norc", "-i"])

    def type_until(keys: str, expected: str) -> str:
        os.write(terminal, keys.encode())
        seen, deadline = "", time.monotonic() + 60
        while expected not in seen:
            assert time.monotonic() < deadline, seen
            if select.select([terminal], [], [], 0.1)[0]:
                seen += os.read(terminal, 4096).decode(errors="replace")
        return seen

    type_until(f"harm={tmp_path}/harm; source scripts/complete.bash; echo loaded-$?\n", "loaded-0")
    type_until("uv run scripts/train.py model=google\t", "model=googlenet")
    type_until(" optimizer.mo\t", "optimizer.momentum=")
    assert "schedule=cosine" in type_until("0.9 schedule=\t\t", "schedule=polynomial")  # the last
    type_until("\x15", "")
    (tmp_path / "x$(>$harm)").touch()
    type_until(f"uv run scripts/predict.py images={tmp_path}/\t", "x\\$\\(\\>\\$harm\\)")
    type_until("\n", "error: ")
    assert not (tmp_path / "harm").exists()
    os.close(terminal)
    os.waitpid(pid, 0)
