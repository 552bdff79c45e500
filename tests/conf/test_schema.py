"""An editor that reads conf/schema.json knows the files of conf/: as it is kept, and as scripts/schema.py makes it."""

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from jsonschema import Draft202012Validator

CONF = ROOT / "conf"
FILES = [file for file in sorted(CONF.rglob("*.yaml")) if "# yaml-language-server:" in file.read_text()]


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
        ("callbacks/early_stopping", "{a: {_target_: pytorch_lightning.callbacks.EarlyStopping, mod: min}}", "mod"),
        ("experiment/mlp_fashion_mnist", "{trainer: {max_epoch: 3}}", "max_epoch"),
    ],
)
def test_a_misspelt_key_and_a_wrong_value_are_seen(schema: dict[str, Any], file: str, text: str, word: str) -> None:
    assert any(word in told for told in mistakes(schema, CONF / f"{file}.yaml", text))


def test_references_nodes_and_classes_of_ones_own_are_left_alone_and_an_argument_explained(
    schema: dict[str, Any],
) -> None:
    values = ("0.3", "${data.val_fraction}", "???", "{_target_: mine.Share}")
    for text in (*(f"_target_: imgclf.models.mlp.MLP\ndropout: {x}" for x in values), "{_target_: mine.Net, width: 3}"):
        assert mistakes(schema, CONF / "model" / "mlp.yaml", text) == []
    for target, key in (("imgclf.models.mlp.MLP", "dropout"), ("imgclf.trainer.Trainer", "max_epochs")):
        assert len(schema["definitions"][target]["properties"][key]["description"]) > 20
