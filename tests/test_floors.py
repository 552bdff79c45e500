"""Imports point only downwards."""

import ast
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "imgclf"

# Room or module -> what it may import of this package. Anything may import the leaves.
LEAVES = {
    "errors",
    "run_folder",
    "sweep_folder",
    "holding",
    "interruption",
    "leaving",
    "provenance",
    "log",
    "scheduler",
    "seal",
}
MAY_IMPORT = {
    "images": set(),
    "schedules": set(),
    "summary": set(),
    "config": set(),
    "report": set(),
    "figures": set(),
    "pictures": set(),
    "data": {"images"},
    "optimizers": set(),
    "models": {"optimizers"},
    "callbacks": {"schedules", "report", "models", "pictures", "figures"},
    "ranks": set(),
    "benchmark": {"images", "data", "models", "run", "figures"},
    "run": {
        *("config", "images", "data", "models", "schedules", "callbacks", "report", "figures", "pictures"),
        *("summary", "ranks"),
    },
    "sweep": {"config", "run", "report", "ranks"},
}
KNOW_HYDRA = {"run", "config", "sweep", "ranks", "benchmark"}
NO_LIGHTNING = {
    "images",
    "report",
    "figures",
    "pictures",
    "config",
    "summary",
    "run_folder",
    "provenance",
    "errors",
    "log",
    "leaving",
}


def imports(file: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(file: Path) -> str:
    return file.relative_to(SOURCE).parts[0].removesuffix(".py")


FILES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SOURCE)))
def test_a_room_imports_only_what_lies_below_it(file: Path) -> None:
    own = room(file)
    for name in imports(file):
        parts = name.split(".")
        if parts[0] == "imgclf" and len(parts) > 1:
            assert parts[1] in LEAVES | {own} | MAY_IMPORT.get(own, set()), f"{own} must not import {name}"
        if parts[0] in ("hydra", "omegaconf"):
            assert own in KNOW_HYDRA, f"{own} must not know {parts[0]}"
        if parts[0] == "pytorch_lightning":
            assert own not in NO_LIGHTNING, f"{own} must not know Lightning"


def test_reports_need_nothing_but_files() -> None:
    """A report of many runs starts at once, on any machine."""
    tops = {name.split(".")[0] for file in FILES if room(file) == "report" for name in imports(file)}
    assert tops - {"imgclf", "yaml"} <= sys.stdlib_module_names


def test_the_curves_of_the_schedules_know_no_torch() -> None:
    tops = {name.split(".")[0] for name in imports(SOURCE / "schedules" / "curves.py")}
    assert not tops & {"torch", "pytorch_lightning", "numpy"}


def test_there_is_no_room_called_utils() -> None:
    assert not [f for f in FILES if "util" in str(f.relative_to(SOURCE))]
