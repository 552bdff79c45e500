"""What README.md and the pages of docs/ tell users to write and to type, done."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import made_up
import nbformat
import numpy as np
import pytest
import torch
from conftest import ROOT, Done, run_here
from nbclient import NotebookClient
from PIL import Image

PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
DOCUMENTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "RESULTS.md")}
DOCUMENTS |= {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in PAGES}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS = {"joblib": "joblib", "optuna": "optuna", "wandb": "wandb", "export": "onnxruntime"}
RUN = [name for name in PAGES if "```bash" in DOCUMENTS[name] or "```python" in DOCUMENTS[name]]
# A script of the checkout, and nothing that takes a shell: run in a copy of this process, which has loaded torch.
SCRIPT = re.compile(r"uv run (?:--extra \w+ )*(scripts/\w+\.py\b[^|><&$;`]*)")
# Else stands in for uv: the interpreter of the tests.
UV = """#!/bin/sh
shift; while [ "$1" = --extra ]; do shift 2; done; [ "$1" = python ] && shift; exec {python} "$@"
"""


@pytest.mark.slow
@pytest.mark.parametrize("page", [pytest.param(page, marks=pytest.mark.xdist_group(page)) for page in RUN])
def test_all_that_a_page_shows_can_be_done_in_its_order(page: str, tmp_path: Path) -> None:
    """In a copy of the checkout, beside some photos, trained weights and an archive: files written, the rest run."""
    commands = "".join(body for kind, body in FENCED.findall(DOCUMENTS[page]) if kind == "bash")
    for extra in re.findall(r"--extra (\w+)", commands):
        if importlib.util.find_spec(NEEDS[extra]) is None:
            pytest.skip(f"--extra {extra} is not installed")
    for part in ("src", "conf", "scripts"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    short = tmp_path / "conf" / "trainer" / "default.yaml"  # commands are tried here, not what comes of them
    short.write_text(short.read_text().replace("limit_train_batches: 1.0", "limit_train_batches: 9"))
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(UV.format(python=shlex.quote(sys.executable)))
    uv.chmod(0o755)
    what_a_user_has(tmp_path)
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "src"), "PATH": f"{uv.parent}:{os.environ['PATH']}"}
    for language, body in FENCED.findall(DOCUMENTS[page]):
        named = re.search(r"^# ((?:src|conf)/\S+)$", body, re.MULTILINE)
        if named is not None:
            assert not (tmp_path / named[1]).exists()
            (tmp_path / named[1]).write_text(body, encoding="utf-8")
        elif language in ("bash", "python"):
            for done in all_done(language, body, tmp_path, environment):
                assert done.returncode == 0, body + done.stdout + done.stderr


def all_done(language: str, body: str, folder: Path, environment: dict[str, str]) -> Iterator[Done]:
    lines = [line for line in body.replace("\\\n", "").splitlines() if line and not line.startswith("#")]
    if language == "python":
        (folder / "page.py").write_text(body, encoding="utf-8")
        yield run_here([str(folder / "page.py")], folder, environment)
    elif all(SCRIPT.fullmatch(line) for line in lines):
        for line in lines:
            words = shlex.split(SCRIPT.fullmatch(line)[1], comments=True)  # type: ignore[index]
            yield run_here([str(folder / words[0]), *words[1:]], folder, environment)
    else:
        shell = ["bash", "-ec", body]
        yield subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


def what_a_user_has(folder: Path) -> None:
    draws = np.random.default_rng(0)
    for number in range(60):
        name, colour = [("cat", 40), ("dog", 120), ("fox", 200)][number % 3]
        pixels = draws.integers(colour - 40, colour + 40, (90, 60 + number, 3), dtype=np.uint8)
        (folder / "photos" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.jpg")
    from torchvision.models import resnet18

    torch.save(resnet18().state_dict(), folder / "resnet18.pth")
    (folder / "cifar-10.zip").write_bytes(made_up.archive())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_script_choice_and_page_it_names_is_there(name: str) -> None:
    text = DOCUMENTS[name]
    for script in re.findall(r"scripts/\w+\.\w+", text):
        assert (ROOT / script).is_file(), script
    own = re.findall(r"^# conf/\w+/(\w+)\.yaml$", text, re.MULTILINE)
    groups = "data|model|optimizer|schedule|trainer|callbacks|experiment|figure|search|logger|loss|metrics"
    for group, choice in re.findall(rf"(?<![\w.])({groups})=([a-z]\w*)", text):
        assert choice in own or (ROOT / "conf" / group / f"{choice}.yaml").is_file(), f"{group}={choice}"
    folder = ROOT if name.isupper() or name in ("README.md", "RESULTS.md") else ROOT / "docs"
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (folder / link).exists(), link


@pytest.mark.parametrize("name", [name for name, text in DOCUMENTS.items() if "uv run" in text])
def test_every_command_can_be_pasted_as_it_stands(name: str) -> None:
    """What a line says to people stands behind a #, so that no word of it reaches the program."""
    blocks = FENCED.findall(DOCUMENTS[name])
    lines = [line for _, block in blocks for line in block.replace("\\\n", "").splitlines()]
    commands = [shlex.split(line, comments=True) for line in lines if "uv run" in line and "scripts/" in line]
    for words in commands:
        if "scripts/benchmark.py" in words:
            continue  # which takes names
        (script,) = [place for place, word in enumerate(words) if word.startswith("scripts/")]
        strays = [word for word in words[script + 1 :] if "=" not in word and not word.startswith(("-", "~"))]
        assert strays == [], words


def test_readme_is_short() -> None:
    assert len(DOCUMENTS["README.md"].splitlines()) <= 180


@pytest.mark.slow
def test_the_notebook_trains_loads_and_shows_and_is_kept_without_outputs(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [kind for cell in code for output in cell.outputs for kind in output.get("data", {})]
    assert (shown.count("text/html"), shown.count("image/png")) == (1, 2), "a table, and two figures"
    assert [path for path in tmp_path.rglob("metrics.json") if "lenet" in str(path)]
    told = "".join(output.text for cell in code for output in cell.outputs if output.output_type == "stream")
    assert "Warning" not in told
