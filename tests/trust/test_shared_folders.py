"""A run folder, a checkpoint or a cache that somebody else has made runs nothing here."""

import ast
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT, Door, Doors
from PIL import Image

from imgclf.errors import InputError
from imgclf.images.cache import cached_images
from imgclf.run.build import read_checkpoint

NETS = str(Path(__file__).parent / "nets")
OWN_NET = ("model=torchvision", "~model.net", "+model.net._target_=normed.Normed")
FAST = ("debug=fast", "logger=none")
# Each way a run folder is opened.
DOORS = [
    ("evaluate.py", "run="),
    ("predict.py", "run="),
    ("figures.py", "figure=features", "run="),
    ("train.py", "resume="),
    ("train.py", "rerun="),
]


class Harm:
    """What a pickle of this does when it is loaded: the file of this name appears."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.file),))


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Path:
    """A finished run with a network of the user's own."""
    folder = tmp_path_factory.mktemp("honest")
    doors(folder)("train.py", *FAST, *OWN_NET, "hydra.run.dir=run", PYTHONPATH=NETS)
    return folder / "run"


@pytest.fixture
def shared(honest: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(honest, tmp_path / "shared"))


def rewrite(folder: Path, **changes: Any) -> None:
    file = folder / ".hydra" / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))


def test_a_package_in_the_working_directory_is_not_taken_for_ours(door: Door, tmp_path: Path) -> None:
    (tmp_path / "imgclf").mkdir()
    for name in ("__init__.py", "ranks.py"):
        (tmp_path / "imgclf" / name).write_text(f"open({str(tmp_path / 'harm')!r}, 'w')")
    door("train.py", *FAST, "trainer=ddp_cpu", "hydra.run.dir=run")
    assert (tmp_path / "run" / "metrics.json").exists()
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("command", DOORS, ids=" ".join)
def test_no_door_builds_what_a_changed_configuration_names(
    door: Door, shared: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    harm = {"_target_": "os.system", "_args_": [f"touch {tmp_path / 'harm'}"]}
    for changes in ({"model": harm}, {"data": {"augmentations": {"x": [harm]}}}, {"hydra": {"callbacks": {"x": harm}}}):
        rewrite(shared, **changes)
        done = door(*command[:-1], f"{command[-1]}shared", expect=2)
        assert "config.yaml is not one of your own runs', and\n" in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "harm").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["shared"], "and nothing was begun"


def test_reports_build_nothing(door: Door, shared: Path, tmp_path: Path) -> None:
    rewrite(shared, model={"_target_": "os.mkdir", "_args_": [str(tmp_path / "harm")]})
    door("report.py", f"diff=[{shared},{shared}]")
    door("report.py", "sweep=shared", "out=out")
    assert not (tmp_path / "harm").exists()


def test_an_own_network_needs_a_word_only_in_a_folder_from_elsewhere(door: Door, shared: Path, tmp_path: Path) -> None:
    mine = {"PYTHONPATH": NETS}
    elsewhere = mine | {"XDG_CONFIG_HOME": str(tmp_path / "another user")}
    at_home = door("evaluate.py", "run=shared", **mine).stdout
    done = door("evaluate.py", "run=shared", expect=2, **elsewhere)
    assert "model.net._target_=normed.Normed" in done.stderr
    assert "add 'trust=[normed.]'" in done.stderr
    assert door("evaluate.py", "run=shared", "trust=[normed.]", **elsewhere).stdout == at_home
    assert (
        "trust=normed.: expected a list" in door("evaluate.py", "run=shared", "trust=normed.", expect=2, **mine).stderr
    )


def test_a_sweep_from_elsewhere_says_what_it_would_run_and_runs_nothing(door: Door, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    harm = f"+hydra.callbacks.harm={{_target_: os.mkdir, _args_: ['{tmp_path / 'harm'}']}}"
    content = {"arguments": ["seed=0,1"], "hydra_arguments": [harm], "is_grid": True, "jobs": []}
    (sweep / "sweep.json").write_text(json.dumps(content))
    done = door("train.py", "-m", "sweep.resume=sweep", expect=2)
    assert "is not one of your own sweeps'" in done.stderr
    assert "seed=0,1" in done.stderr
    assert not (tmp_path / "harm").exists()


# --- pickles ---


def test_a_checkpoint_with_a_pickle_is_refused_and_not_run(door: Door, shared: Path, tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    for name in ("best", "last"):
        torch.save({"state_dict": {}, "global_step": 1, "x": Harm(harm)}, shared / "checkpoints" / f"{name}.ckpt")
        with pytest.raises(InputError, match=rf"{name}\.ckpt cannot be read as a checkpoint"):
            read_checkpoint(shared / "checkpoints" / f"{name}.ckpt")
    (shared / "metrics.json").unlink()
    done = door("train.py", "resume=shared", expect=2, PYTHONPATH=NETS)
    assert "last.ckpt cannot be read as a checkpoint" in done.stderr
    assert not harm.exists()


def test_a_cache_with_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    images, cache, harm = tmp_path / "train", tmp_path / "cache", tmp_path / "harm"
    images.mkdir()
    for i in (1, 2):
        Image.new("RGB", (4, 4)).save(images / f"{i}.png")
    cached_images(images, cache, size=4, workers=1)
    (entry,) = cache.iterdir()
    np.save(entry / "images.npy", np.array([Harm(harm)], dtype=object), allow_pickle=True)
    record = json.loads((entry / "fingerprint.json").read_text())
    record["bytes"] = (entry / "images.npy").stat().st_size
    (entry / "fingerprint.json").write_text(json.dumps(record))
    with pytest.raises((InputError, ValueError)):
        cached_images(images, cache, size=4, workers=1)
    assert not harm.exists()

    # And the list of sources, which is read when the images have changed.
    Image.new("RGB", (4, 4)).save(images / "3.png")
    np.save(entry / "sources.npy", np.array([Harm(harm)], dtype=object), allow_pickle=True)
    assert len(cached_images(images, cache, size=4, workers=1).ids) == 3
    assert not harm.exists()


SAFE = {"torch.load": ("weights_only", True), "np.load": ("allow_pickle", False), "trainer.fit": ("weights_only", True)}


def test_nothing_in_the_package_loads_pickles() -> None:
    found = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
                assert not names & {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}, file
            if isinstance(node, ast.Call) and (name := ast.unparse(node.func)) in SAFE:
                found.add(name)
                key, value = SAFE[name]
                given = {k.arg: getattr(k.value, "value", None) for k in node.keywords}
                assert given.get(key) is value, f"{file}:{node.lineno} {name} without {key}={value}"
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("yaml.load", "yaml.full_load")):
                assert ast.unparse(node.args[1]) == "_Loader", f"{file}:{node.lineno}"  # report/files.py's, a safe one
    assert found == set(SAFE)
