"""What README.md tells users to write and to type, done."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=3", "logger=none")


def section(root: Path, title: str) -> str:
    text = (root / "README.md").read_text(encoding="utf-8")
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A copy of the checkout with the files of "Make it yours", and with images of one's own."""
    copy = tmp_path_factory.mktemp("mine")
    for part in ("src", "conf", "scripts"):
        shutil.copytree(root / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    for language, body in FENCED.findall(section(root, "Make it yours")):
        if language:
            (name,) = re.findall(r"^# ((?:src|conf)/\S+)$", body, re.MULTILINE)
            file = copy / name
            assert not file.exists()
            file.write_text(body, encoding="utf-8")
            assert len(body.splitlines()) < 20, file
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 2
    images = rng.integers(0, 120, (600, 1, 28, 28)) + 130 * (1 - labels)[:, None, None, None]
    arrays = {f"{part}_images": images.astype(np.uint8) for part in ("train", "test")}
    np.savez(copy / "arrays.npz", **arrays, train_labels=labels, test_labels=labels)
    return copy


def commands(root: Path, title: str) -> list[str]:
    blocks = [body for language, body in FENCED.findall(section(root, title)) if not language]
    return [line for body in blocks for line in body.splitlines()]


def typed(command: str, folder: Path, *more: str) -> str:
    """Type a command of the README, with the interpreter of the tests in the place of ``uv run``."""
    words = shlex.split(command.removeprefix("uv run "))
    path = os.pathsep.join([str(folder / "src"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words, *more], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_network_a_data_set_a_schedule_and_a_sweep_of_ones_own(mine: Path, root: Path) -> None:
    train, draw, sweep = commands(root, "Make it yours")
    assert "SmallConv, 1,346 parameters; Arrays;" in typed(train, mine, "trainer.max_epochs=2")
    assert "exponential.png" in typed(draw, mine)
    output = typed(sweep, mine, *SHORT)
    assert "6 of 6 jobs finished" in output
    assert "6 runs, 2 settings" in output


def test_the_readme_can_be_read_at_one_sitting(root: Path) -> None:
    assert len((root / "README.md").read_text(encoding="utf-8").splitlines()) < 250


def test_every_script_and_every_choice_it_names_is_there(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    for script in re.findall(r"scripts/\w+\.\w+", text):
        assert (root / script).is_file(), script
    own = {"small_conv", "arrays", "exponential", "widths"}  # of "Make it yours"
    groups = "data|model|optimizer|schedule|trainer|callbacks|experiment|figure|search"
    for group, choice in re.findall(rf"\b({groups})=([a-z]\w*)", text):
        assert choice in own or (root / "conf" / group / f"{choice}.yaml").is_file(), f"{group}={choice}"


@pytest.mark.parametrize("name", ["README.md", "RESULTS.md"])
def test_every_command_can_be_pasted_as_it_stands(root: Path, name: str) -> None:
    """What a line says to people stands behind a #, so that no word of it reaches the program."""
    blocks = FENCED.findall((root / name).read_text(encoding="utf-8"))
    lines = [line for _, block in blocks for line in block.replace("\\\n", "").splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if "uv run" in line and "scripts/" in line]
    assert len(commands) > 5
    for words in commands:
        (script,) = [place for place, word in enumerate(words) if word.startswith("scripts/")]
        assert [word for word in words[script + 1 :] if "=" not in word and not word.startswith(("-", "~"))] == [], (
            words
        )
