"""The commands of docs/rename.md in a copy of the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from run_files import metrics, run_json


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A commit of all that git does not ignore here."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / "copy" / name)
    me = ("-c", "user.name=me", "-c", "user.email=me@example.com", "-c", "commit.gpgsign=false")
    for command in (["init", "-q"], ["add", "-A"], [*me, "commit", "-qm", "as cloned"]):
        subprocess.run(["git", *command], cwd=tmp_path / "copy", check=True)
    return tmp_path / "copy"


@pytest.mark.slow
def test_a_renamed_checkout_trains_under_its_new_name(checkout: Path) -> None:
    commands = (ROOT / "docs" / "rename.md").read_text().split("```")[1].splitlines()[1:3]
    for command in commands:
        subprocess.run(command.replace("mylab", "otherlab"), shell=True, cwd=checkout, check=True)
    left = subprocess.run(["git", "grep", "-ilw", "imgclf"], cwd=checkout, capture_output=True, text=True).stdout
    assert {*left.split()} <= {"CITATION.cff", "LICENSE"}
    short = [sys.executable, "scripts/train.py", "debug=fast", "hydra.run.dir=logs/short"]
    subprocess.run(short, cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout / "src")}, check=True, timeout=300)
    folder = checkout / "logs" / "short"
    assert "test/acc" in metrics(folder)
    assert run_json(folder)["outcome"] == "finished"
    assert "_target_: otherlab.models.mlp.MLP" in (folder / ".hydra" / "config.yaml").read_text()
