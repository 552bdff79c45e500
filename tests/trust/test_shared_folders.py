"""A run folder, a checkpoint or a cache that somebody else has made runs nothing here."""

import ast
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT, Door
from PIL import Image
from refused import run_here

import imgclf.cli  # noqa: F401 -- its resolvers, before Hydra's state is first put back
from imgclf.build import read_checkpoint
from imgclf.errors import InputError
from imgclf.images.cache import cached_images

NETS = str(Path(__file__).parent / "nets")
OWN_NET = "model=torchvision ~model.net +model.net._target_=normed.Normed"
FAST = "debug=fast logger=none"
# Each way a run folder is opened.
DOORS = [
    "evaluate.py run=",
    "predict.py run=",
    "figures.py figure=features run=",
    "train.py resume=",
    "train.py rerun=",
]


class Harm:
    """What a pickle of this does when it is loaded: the file of this name appears."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.file),))


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run with a network of the user's own, whose module can be imported."""
    folder = tmp_path_factory.mktemp("honest") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(NETS)
        answer = run_here(f"train.py {FAST} {OWN_NET} hydra.run.dir={folder}")
        assert answer.code == 0, answer.err
        yield folder


@pytest.fixture
def shared(honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, to be changed, in the working directory."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(honest, tmp_path / "shared"))


def rewrite(folder: Path, **changes: Any) -> None:
    file = folder / ".hydra" / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))


def test_a_package_in_the_working_directory_is_not_taken_for_ours(door: Door, tmp_path: Path) -> None:
    (tmp_path / "imgclf").mkdir()
    for name in ("__init__.py", "distributed.py"):
        (tmp_path / "imgclf" / name).write_text(f"open({str(tmp_path / 'harm')!r}, 'w')")
    door("train.py", *FAST.split(), "trainer=ddp_cpu", "hydra.run.dir=run")
    assert (tmp_path / "run" / "metrics.json").exists()
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("command", DOORS)
def test_no_script_builds_what_a_changed_configuration_names(shared: Path, tmp_path: Path, command: str) -> None:
    harm = {"_target_": "os.mkdir", "_args_": [str(tmp_path / "harm")]}
    for changes in ({"model": harm}, {"data": {"augmentations": {"x": [harm]}}}, {"hydra": {"callbacks": {"x": harm}}}):
        rewrite(shared, **changes)
        answer = run_here(f"{command}shared trust=[normed.]")
        assert answer.code == 2
        assert answer.err.startswith("error: shared/.hydra/config.yaml:\n")
        assert "Traceback" not in answer.err
    assert [p.name for p in tmp_path.iterdir()] == ["shared"], "nothing was made or begun"


def test_reports_build_nothing(shared: Path, tmp_path: Path) -> None:
    rewrite(shared, model={"_target_": "os.mkdir", "_args_": [str(tmp_path / "harm")]})
    for command in ("report.py diff=[shared,shared]", "report.py sweep=shared out=out"):
        assert run_here(command).code == 0
    assert not (tmp_path / "harm").exists()


def test_a_network_of_ones_own_needs_a_word(shared: Path) -> None:
    answer = run_here("evaluate.py run=shared")
    assert answer.code == 2
    assert "model.net._target_=normed.Normed" in answer.err
    assert "add 'trust=[normed.]'" in answer.err
    trusted = run_here("evaluate.py run=shared trust=[normed.]")
    assert trusted.code == 0, trusted.err
    assert "accuracy" in trusted.out


def test_what_was_checked_is_what_is_built(
    honest: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import imgclf.check

    plain = imgclf.check.check

    def changing(*arguments: Any) -> None:
        plain(*arguments)
        rewrite(shared, model={"_target_": "os.mkdir", "_args_": [str(tmp_path / "harm")]})

    monkeypatch.setattr(imgclf.check, "check", changing)
    for command in ("train.py resume=shared trainer.max_epochs=2", "evaluate.py run=shared"):
        run_here(f"{command} trust=[normed.]")
        assert "os.mkdir" in (shared / ".hydra" / "config.yaml").read_text()
        assert not (tmp_path / "harm").exists()
        shutil.rmtree(shared)
        shutil.copytree(honest, shared)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_sweep_from_elsewhere_says_what_it_would_run_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweep").mkdir()
    harm = f"+hydra.callbacks.harm={{_target_: os.mkdir, _args_: ['{tmp_path / 'harm'}']}}"
    file = tmp_path / "sweep" / "sweep.json"
    file.write_text(json.dumps({"arguments": ["-m", "seed=0,1", harm], "directory": str(tmp_path)}))
    os.chown(file, 12345, -1)
    answer = run_here("train.py -m sweep.resume=sweep")
    assert answer.code == 2
    assert "seed=0,1" in answer.err
    assert "trust=[]" in answer.err
    assert not (tmp_path / "harm").exists()


# --- pickles ---


def test_a_checkpoint_with_a_pickle_is_refused_and_not_run(shared: Path, tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    for name in ("best", "last"):
        torch.save({"state_dict": {}, "global_step": 1, "x": Harm(harm)}, shared / "checkpoints" / f"{name}.ckpt")
        with pytest.raises(InputError, match=rf"{name}\.ckpt cannot be read as a checkpoint"):
            read_checkpoint(shared / "checkpoints" / f"{name}.ckpt")
    (shared / "metrics.json").unlink()
    answer = run_here("train.py resume=shared trust=[normed.]")
    assert answer.code == 2
    assert "last.ckpt cannot be read as a checkpoint" in answer.err
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
