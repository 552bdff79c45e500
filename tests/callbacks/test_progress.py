"""The terminal while training runs."""

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path

from conftest import Door


def in_a_terminal(command: list[str], folder: Path, columns: int = 100) -> str:
    """What a terminal of that width receives from a command."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        os.chdir(folder)
        os.execve(command[0], command, os.environ | {"OMP_NUM_THREADS": "1", "TERM": "xterm"})
    received = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        received += piece
    assert os.waitpid(pid, 0)[1] == 0, received.decode()
    return received.decode()


def test_a_terminal_shows_one_live_line_with_loss_accuracy_and_rate(tmp_path: Path, root: Path) -> None:
    script = str(root / "scripts" / "train.py")
    shown = in_a_terminal(
        [sys.executable, script, "trainer.max_epochs=2", "callbacks.progress.refresh_seconds=0.01"], tmp_path
    )
    bars = [line for line in re.split(r"[\r\n]+", shown) if "%|" in line]
    assert any(
        re.search(r"epoch 2/2 +\d+%\|.*\| \d+/36  loss \d\.\d{4}  acc 0\.\d{4}  lr 0\.1 .*images/s", b) for b in bars
    )
    assert all(len(bar) <= 100 for bar in bars)
    lasting = re.findall(r"epoch \d/2  loss .*?val acc .*?images/s", shown)
    assert len(lasting) == 2, "one line stays for each epoch"


def test_a_line_shows_no_validation_of_an_earlier_epoch(door: Door) -> None:
    said = door("train.py", "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2", "test=false").stderr
    epochs = [line for line in said.splitlines() if line.startswith("epoch ")]
    assert ["val acc" in line for line in epochs] == [False, True, False]
