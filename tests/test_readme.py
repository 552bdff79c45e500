"""What README.md tells users to write and to type, done."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import Door
from run_files import metrics

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=3", "logger=none")


def section(root: Path, title: str) -> str:
    text = (root / "README.md").read_text(encoding="utf-8")
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    """A copy of the checkout, in which "Make it yours" is done in its order: files written, commands pasted.

    ``uv run`` is the interpreter of the tests; the sweep is a short one. What it printed is in pasted.txt.
    """
    copy = tmp_path_factory.mktemp("mine")
    for part in ("src", "conf", "scripts"):
        shutil.copytree(root / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    uv = copy / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(f'#!/bin/sh\nshift; test "$1" = python && shift; exec {shlex.quote(sys.executable)} "$@"\n')
    uv.chmod(0o755)
    environment = os.environ | {"PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{uv.parent}{os.pathsep}{environment['PATH']}"
    for language, body in FENCED.findall(section(root, "Make it yours")):
        if not language:
            pasted = body.replace("experiment=widths", shlex.join(["experiment=widths", *SHORT]))
            with (copy / "pasted.txt").open("a", encoding="utf-8") as log:
                done = subprocess.run(
                    ["bash", "-ec", pasted],
                    cwd=copy,
                    env=environment,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=600,
                )
            assert done.returncode == 0, (copy / "pasted.txt").read_text(encoding="utf-8")
        else:
            (name,) = re.findall(r"^# ((?:src|conf)/\S+)$", body, re.MULTILINE)
            file = copy / name
            assert not file.exists()
            file.write_text(body, encoding="utf-8")
            assert len(body.splitlines()) < 20, file
    return copy


@pytest.mark.slow
def test_a_network_a_data_set_a_schedule_and_a_sweep_of_ones_own(mine: Path) -> None:
    output = (mine / "pasted.txt").read_text(encoding="utf-8")
    assert "SmallConv, 1,346 parameters; Arrays;" in output
    (file,) = mine.glob("logs/runs/small_conv_arrays/*/metrics.json")
    assert json.loads(file.read_text())["test/acc"] > 0.9, "what is bright and what is dark can be learned"
    assert "schedules.png" in output
    assert "6 of 6 jobs finished" in output
    assert "6 runs, 2 settings" in output


def test_the_network_of_torchvision_learns(root: Path, door: Door, tmp_path: Path) -> None:
    text = section(root, "Change anything from the command line")
    (command,) = (line for line in text.splitlines() if "torchvision" in line and line.startswith("uv run"))
    short = ("trainer.max_epochs=1", "test=false", "logger=none", "hydra.run.dir=run")
    door("train.py", *shlex.split(command)[3:], *short)
    assert metrics(tmp_path / "run")["train/acc"] > 0.3, "chance is 0.1"


def test_the_licence_is_there_and_the_readme_can_be_read_at_one_sitting(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (file,) = project["license-files"]
    assert (root / file).read_text(encoding="utf-8").startswith(f"{project['license']} License")
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
