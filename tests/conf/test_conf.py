"""Every file of conf/ composes with the others and passes the check; an editor that reads its schema knows it."""

import itertools
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from hydra.utils import instantiate
from jsonschema import Draft202012Validator
from omegaconf import OmegaConf

import imgclf

CONF = ROOT / "conf"
FILES = [file for file in sorted(CONF.rglob("*.yaml")) if "# yaml-language-server:" in file.read_text()]
GROUPS = ("data", "model", "optimizer", "schedule", "trainer", "callbacks", "logger", "metrics", "debug")
NEEDED = {"data=image_folder": ["data.dir=a"], "data=arrays": ["data.file=x", "data.num_classes=2"]}


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b", "c"):
        (tmp_path / "a" / name).mkdir(parents=True)


def choices(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def test_each_choice_composes_and_passes_the_check_with_others() -> None:
    columns = [[f"{group}={choice}" for choice in choices(group)] for group in GROUPS]
    for row in itertools.zip_longest(*columns):
        given = [override for override in row if override]
        assert imgclf.compose([*given, "seed=7", *sum((NEEDED.get(x, []) for x in given), [])]).seed == 7, given
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="uv run --extra optuna pytest")
    assert all(imgclf.compose([f"search={search}"]) for search in choices("search"))


@pytest.mark.parametrize("model", choices("model"))
def test_each_network_can_be_built_and_follows_the_data(model: str) -> None:
    if model == "timm":
        pytest.importorskip("timm", reason="uv run --extra timm pytest")
    config = imgclf.compose([f"model={model}", "data.num_classes=12", "data.in_channels=3", "data.resize=67"])
    net = instantiate(config.model, optimizer=instantiate(config.optimizer))
    assert (net.input_shape[1:], net.num_classes) == ((3, 67, 67), 12)


@pytest.mark.parametrize("file", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_choice_of_a_ready_sweep_passes_the_check(file: Path) -> None:
    params = OmegaConf.load(file).get("hydra", {}).get("sweeper", {}).get("params", {})
    columns = [[(key, choice) for choice in str(several).split(",")] for key, several in params.items()]
    needed = NEEDED["data=image_folder"] * ("/data: image_folder" in file.read_text())
    for row in list(itertools.zip_longest(*columns)) or [()]:
        given = dict(filter(None, row))
        changed = [f"{key}={choice}" for key, choice in given.items()]
        config = imgclf.compose([f"experiment={file.stem}", *needed, *changed])
        for key, choice in given.items():
            assert key.startswith("+") or str(OmegaConf.select(config, key)).lower() == choice


@pytest.fixture(scope="module", params=["kept", "made"])
def schema(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "kept":
        return json.loads((CONF / "schema.json").read_text())
    return json.loads(json.dumps(runpy.run_path(str(ROOT / "scripts" / "schema.py"))["schema"]()))


def mistakes(schema: dict[str, Any], file: Path, text: str) -> list[str]:
    """What an editor underlines in this text of a file, whose comment says where its schema is."""
    named = re.search(r"^# yaml-language-server: \$schema=([./]+schema\.json)(#\S+)?$", file.read_text(), re.M)
    assert named is not None
    assert (file.parent / named[1]).resolve() == CONF / "schema.json"
    part = {"$ref": named[2], "definitions": schema["definitions"]} if named[2] else schema
    return [error.message for error in Draft202012Validator(part).iter_errors(yaml.safe_load(text))]


def test_every_file_is_without_mistakes(schema: dict[str, Any]) -> None:
    assert {file.parent.name for file in FILES} >= {"callbacks", "data", "model", "optimizer", "schedule", "experiment"}
    assert [(file.name, found) for file in FILES if (found := mistakes(schema, file, file.read_text()))] == []


@pytest.mark.parametrize(
    ("file", "text", "word"),
    [
        ("model/mlp", "{_target_: imgclf.models.mlp.MLP, hiden_sizes: [256]}", "hiden_sizes"),
        ("model/mlp", "{_target_: imgclf.models.mlp.MLP, dropout: high}", "high"),
        ("model/mlp", "{_target_: imgclf.models.mlp.MLP, dropout: 1.5}", "1.5"),
        ("data/arrays", "{augmentations: {a: {_target_: imgclf.data.transforms.PadCropFlip, pad: 2}}}", "pad"),
        ("optimizer/sgd", "{_target_: imgclf.optimizers.grouped.SGD, _partial_: true, momentun: 0.9}", "momentun"),
        ("callbacks/early_stopping", "{a: {_target_: imgclf.callbacks.stop.EarlyStopping, mod: min}}", "mod"),
        ("experiment/mlp_fashion_mnist", "{trainer: {max_epoch: 3}}", "max_epoch"),
    ],
)
def test_a_misspelt_key_and_a_wrong_value_are_seen(schema: dict[str, Any], file: str, text: str, word: str) -> None:
    assert any(word in told for told in mistakes(schema, CONF / f"{file}.yaml", text))


def test_references_and_classes_of_ones_own_are_left_alone(schema: dict[str, Any]) -> None:
    values = ("0.3", "${data.val_fraction}", "???", "{_target_: mine.Share}")
    for text in (*(f"_target_: imgclf.models.mlp.MLP\ndropout: {x}" for x in values), "{_target_: mine.Net, width: 3}"):
        assert mistakes(schema, CONF / "model" / "mlp.yaml", text) == []
    for target, key in (("imgclf.models.mlp.MLP", "dropout"), ("imgclf.trainer.Trainer", "max_epochs")):
        assert len(schema["definitions"][target]["properties"][key]["description"]) > 20
