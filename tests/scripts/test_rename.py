"""scripts/rename.py in a copy of the checkout."""

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


def run(checkout: Path, script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, f"scripts/{script}", *arguments]
    environment = os.environ | environment
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_renamed_checkout_trains_under_its_new_name(checkout: Path) -> None:
    done = run(checkout, "rename.py", "otherlab")
    assert done.returncode == 0, done.stderr
    assert "uv sync" in done.stdout
    left = subprocess.run(["git", "grep", "-ilw", "imgclf"], cwd=checkout, capture_output=True, text=True).stdout
    assert {*left.split()} <= {"CITATION.cff", "LICENSE"}
    done = run(checkout, "train.py", "debug=fast", "hydra.run.dir=logs/short", PYTHONPATH=str(checkout / "src"))
    assert done.returncode == 0, done.stdout + done.stderr
    folder = checkout / "logs" / "short"
    assert "test/acc" in metrics(folder)
    assert run_json(folder)["outcome"] == "finished"
    assert "_target_: otherlab.models.mlp.MLP" in (folder / ".hydra" / "config.yaml").read_text()


def test_names_that_cannot_be_are_refused_in_a_line_and_nothing_changes(checkout: Path) -> None:
    for name in ("my-lab", "torch", "conftest"):
        done = run(checkout, "rename.py", name)
        assert (done.returncode, done.stderr.count("\n"), done.stdout) == (2, 1, "")
        assert name in done.stderr
    (checkout / "note.txt").touch()
    assert "git status" in run(checkout, "rename.py", "otherlab").stderr
    assert (checkout / "src" / "imgclf" / "train.py").is_file()
