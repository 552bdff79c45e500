"""What README.md tells users to write and to type, done."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Door
from run_files import metrics

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=3", "logger=none")


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


@pytest.mark.slow
def test_a_network_a_data_set_a_schedule_and_a_sweep_of_ones_own(tmp_path: Path) -> None:
    """In a copy of the checkout "Make it yours" is done in its order: files written, commands pasted, ``uv run`` being
    the interpreter of the tests, and the sweep a short one."""
    for part in ("src", "conf", "scripts"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    uv, output = tmp_path / "bin" / "uv", ""
    uv.parent.mkdir()
    uv.write_text(f'#!/bin/sh\nshift; test "$1" = python && shift; exec {shlex.quote(sys.executable)} "$@"\n')
    uv.chmod(0o755)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src"), "PATH": f"{uv.parent}:{os.environ['PATH']}"}
    for language, body in FENCED.findall(section("Make it yours")):
        if language:
            (name,) = re.findall(r"^# ((?:src|conf)/\S+)$", body, re.MULTILINE)
            assert not (tmp_path / name).exists()
            (tmp_path / name).write_text(body, encoding="utf-8")
        else:
            command = ["bash", "-ec", body.replace("experiment=widths", shlex.join(["experiment=widths", *SHORT]))]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stdout + done.stderr
            output += done.stdout + done.stderr
    (file,) = tmp_path.glob("logs/runs/small_conv_arrays/*/metrics.json")
    assert json.loads(file.read_text())["test/acc"] > 0.9, "what is bright and what is dark can be learned"
    for said in ("SmallConv, 1,346 parameters; Arrays;", "schedules.png", "6 of 6 jobs finished", "6 runs, 2 settings"):
        assert said in output


@pytest.mark.slow
def test_the_network_of_torchvision_learns(door: Door, tmp_path: Path) -> None:
    text = section("Change anything from the command line")
    (command,) = (line for line in text.splitlines() if "torchvision" in line and line.startswith("uv run"))
    short = ("trainer.max_epochs=1", "test=false", "logger=none", "hydra.run.dir=run")
    door("train.py", *shlex.split(command)[3:], *short)
    assert metrics(tmp_path / "run")["train/acc"] > 0.3, "chance is 0.1"


def test_every_script_and_every_choice_it_names_is_there() -> None:
    for script in re.findall(r"scripts/\w+\.\w+", README):
        assert (ROOT / script).is_file(), script
    own = {"small_conv", "arrays", "exponential", "widths"}  # of "Make it yours"
    groups = "data|model|optimizer|schedule|trainer|callbacks|experiment|figure|search"
    for group, choice in re.findall(rf"\b({groups})=([a-z]\w*)", README):
        assert choice in own or (ROOT / "conf" / group / f"{choice}.yaml").is_file(), f"{group}={choice}"


@pytest.mark.parametrize("name", ["README.md", "RESULTS.md"])
def test_every_command_can_be_pasted_as_it_stands(name: str) -> None:
    """What a line says to people stands behind a #, so that no word of it reaches the program."""
    blocks = FENCED.findall((ROOT / name).read_text(encoding="utf-8"))
    lines = [line for _, block in blocks for line in block.replace("\\\n", "").splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if "uv run" in line and "scripts/" in line]
    assert len(commands) > 5
    for words in commands:
        (script,) = [place for place, word in enumerate(words) if word.startswith("scripts/")]
        strays = [word for word in words[script + 1 :] if "=" not in word and not word.startswith(("-", "~"))]
        assert strays == [], words
