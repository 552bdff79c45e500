"""The terminal while training runs."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import termios
from pathlib import Path

from conftest import ROOT, Door, become, load_all
from run_files import table


def in_a_terminal(command: list[str], folder: Path, columns: int = 100) -> str:
    """What a terminal of that width receives from a command."""
    load_all()
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        become(command, folder, os.environ | {"OMP_NUM_THREADS": "1", "TERM": "xterm"})
    received = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while piece := os.read(terminal, 65536):
            received += piece
    assert os.waitpid(pid, 0)[1] == 0, received.decode()
    return received.decode()


def test_a_terminal_shows_a_bar_with_time_left_loss_and_accuracy(tmp_path: Path) -> None:
    quick = ("trainer.max_epochs=2", "callbacks=bare", "logger=none", "callbacks.progress.refresh_seconds=0.01")
    shown = in_a_terminal([str(ROOT / "scripts" / "train.py"), *quick], tmp_path)
    bars = [line for line in re.split(r"[\r\n]+", shown) if "%|" in line]
    form = r"epoch 2/2: +\d+%\|.*\| \d+/36 \[\d\d:\d\d<\d\d:\d\d, .*it/s, loss=\d\.\d{4}, acc=0\.\d{4}\]"
    assert any(re.search(form, bar) for bar in bars)
    assert any(bar.startswith("Validation") for bar in bars)
    assert all(len(bar.removesuffix("\x1b[A")) <= 100 for bar in bars)
    assert len(re.findall(LASTING, shown)) == 2, "one line stays for each epoch"


LASTING = (
    r"epoch \d/\d  loss 0\.\d+  acc 0\.\d+  val loss \d\.\d+  val acc 0\.\d+  lr 0\.1  [\d,]+ images/s"
    r"  \d+\.\d s, \d:\d\d:\d\d gone, \d:\d\d:\d\d left(  best so far)?"
)


def test_a_pipe_gets_a_line_an_epoch_with_the_best_so_far_marked(door: Door, tmp_path: Path) -> None:
    given = ("trainer.max_epochs=3", "callbacks=bare", "logger=none", "hydra.run.dir=run", "test=false")
    said = door("train.py", *given).stderr
    epochs = [line for line in said.splitlines() if line.startswith("epoch ")]
    assert "\r" not in said
    assert all(re.fullmatch(LASTING, line) for line in epochs)
    scores = [float(row["val/acc"]) for row in table(tmp_path / "run")]
    is_best = [score > max([0.0, *scores[:epoch]]) for epoch, score in enumerate(scores)]
    assert [line.endswith("best so far") for line in epochs] == is_best
