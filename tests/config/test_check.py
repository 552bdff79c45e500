"""A wrong key or value is named with its full key and the nearest right one; a right one never raises."""

import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from imgclf.check import check
from imgclf.errors import InputError

SHOPKIT = """
import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import attrs

class Base:
    def __init__(self, width: int, lr: float = 0.1) -> None: ...

class Net(Base):
    def __init__(self, hidden: list[int], activation: Literal["relu", "tanh"] = "relu", dropout: float = 0.0,
                 size: int | tuple[int, int] = 28, folder: Path | None = None, scale: dict[str, float] | None = None,
                 loose: int = None, flag: bool = True) -> None: ...

class Late(Base):
    def __init__(self, hook: "Nowhere", name: "str", **options: Any) -> None: ...

class Point(NamedTuple):
    x: int
    y: int = 0

@attrs.define
class Crop:
    pad: int
    mode: str = "zero"

@dataclass
class Folder:
    root: str
    batch: int = 32
    seen: int = field(default=0, init=False)

def logged(function):
    @functools.wraps(function)
    def inner(*args, verbose: bool = False, **kwargs):
        return function(*args, **kwargs)
    return inner

@logged
def build(depth: int, name: str = "x") -> None: ...

class Plain: ...

half = functools.partial(build, depth=3)
"""
GROUPS = ("data", "model", "optimizer", "schedule", "trainer")
NET = {"_target_": "shopkit.Net", "hidden": [256]}


@pytest.fixture(autouse=True)
def _shopkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "shopkit.py").write_text(SHOPKIT)
    (tmp_path / "broken.py").write_text("import shopkit\nshopkit.Base(width=1 / 0)\n")
    (tmp_path / "lacking.py").write_text("import a_package_that_nobody_has\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("shopkit", "broken", "lacking"):
        sys.modules.pop(name, None)


def problems(node: Any, key: str = "model", **top: Any) -> list[str]:
    try:
        check(OmegaConf.create({group: {} for group in GROUPS} | {key: node} | top), "train")
    except InputError as error:
        return str(error).splitlines()
    return []


RIGHT: list[dict[str, Any]] = [
    NET,
    {**NET, "hidden": [], "activation": "tanh", "dropout": 0, "size": [28, 32], "folder": "data/x", "flag": False},
    {**NET, "scale": {"a": 1, "b": 2.5}, "folder": None, "loose": None},  # its default, whatever the annotation says
    {**NET, "dropout": "${trainer.x}"},
    {**NET, "_partial_": True, "_convert_": "all", "_recursive_": True},
    {"_target_": "shopkit.Net", "_args_": [[256], "tanh"]},
    {"_target_": "shopkit.Net", "_partial_": True},
    {"_target_": "shopkit.Late", "hook": 3, "name": "x", "width": "anything"},
    {"_target_": "shopkit.Point", "x": 1},
    {"_target_": "shopkit.Crop", "pad": 4, "mode": "reflect"},
    {"_target_": "shopkit.Folder", "root": "x", "batch": 3},
    {"_target_": "shopkit.build", "depth": 3, "verbose": True},
    {"_target_": "shopkit.half", "name": "y"},
    {"_target_": "shopkit.Plain"},
    {"_target_": "functools.partial", "_args_": ["x"], "keywords": 3},
    {"_target_": "datetime.timedelta", "minutes": 5},
    {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 1, "betas": [0.9, 0.999], "fused": True},
    {"_target_": "torchvision.models.resnet18", "weights": "DEFAULT", "progress": False, "num_classes": 10},
    {"_target_": "torchvision.models.get_model", "name": "resnet18", "weights": None, "num_classes": 10},
    {"_target_": "torchmetrics.Accuracy", "task": "multiclass", "num_classes": 10},
    {
        "_target_": "torch.nn.Sequential",
        "_args_": [{"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 2}],
    },
    {
        "_target_": "pytorch_lightning.Trainer",
        **{"devices": [0, 1], "precision": "bf16-mixed", "max_time": {"minutes": 5}, "limit_train_batches": 0.5},
        **{"deterministic": "warn", "profiler": "simple", "check_val_every_n_epoch": None, "gradient_clip_val": 1},
    },
    {
        "_target_": "pytorch_lightning.callbacks.ModelCheckpoint",
        **{"dirpath": "x", "monitor": "val/acc", "save_last": "link"},
        "train_time_interval": {"_target_": "datetime.timedelta", "minutes": 5},
    },
]


@pytest.mark.parametrize("node", RIGHT, ids=lambda node: str(node["_target_"]))
def test_what_a_target_takes_is_accepted(node: dict[str, Any]) -> None:
    assert problems(node, trainer={"x": 0.5}) == []


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"hidden": 256}, ["model.hidden=256: ", "array"]),
        ({"hidden": [1.5]}, ["model.hidden=[1.5]: ", "integer"]),
        ({"hidden": None}, ["model.hidden=null: ", "array"]),
        ({"activation": "rleu"}, ["model.activation=rleu: ", "'relu' or 'tanh'"]),
        ({"dropout": "1e-3x"}, ["model.dropout=1e-3x: ", "number"]),
        ({"dropout": True}, ["model.dropout=true: "]),
        ({"dropout": float("nan")}, ["model.dropout=nan: expected a finite number"]),
        ({"size": [1, 2, 3]}, ["model.size=[1, 2, 3]: "]),
        ({"size": "1"}, ["model.size=1: "]),
        ({"folder": 7}, ["model.folder=7: "]),
        ({"scale": {"a": "b"}}, ["model.scale={a: b}: "]),
        ({"flag": "yes"}, ["model.flag=yes: ", "boolean"]),
        ({"activaton": "relu"}, ["model.activaton=relu: ", "Did you mean 'model.activation'?"]),
        ({"qqqq": 1}, ["model.qqqq=1: ", "It takes: hidden, activation"]),
        ({"width": 1}, ["model.width=1: shopkit.Net has no parameter"]),  # its base's, which it gives itself
        ({"optimizer": 3}, ["model.optimizer: the program gives it itself"]),
        ({"dropout": "${nowhere}"}, ["model.dropout: ", "nowhere"]),
        ({"dropout": "${oc.env:IMGCLF_SURELY_NOT_SET}"}, ["model.dropout: ", "IMGCLF_SURELY_NOT_SET"]),
        ({"dropout": "${no_such_resolver:1}"}, ["no_such_resolver"]),
        ({"dropout": "???"}, ["model.dropout=???: must be given"]),
        ({"_target_": "shopkit.Nut"}, ["model._target_=shopkit.Nut: it cannot be imported", "Nut"]),
        ({"_target_": "broken.Net"}, ["model._target_=broken.Net: ", "division by zero"]),
        ({"_target_": "lacking.Net"}, ["model._target_=lacking.Net: ", "a_package_that_nobody_has"]),
        ({"_target_": 7}, ["model._target_=7: "]),
    ],
)
def test_what_it_does_not_take_is_named_in_one_line(given: dict[str, Any], parts: list[str]) -> None:
    lines = problems({**NET, **given})
    assert len(lines) == 1, lines
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize(
    ("target", "given", "typed", "right"),
    [
        ("shopkit.Point", {"x": 1, "yy": 2}, "yy", "y"),
        ("shopkit.Crop", {"pad": 4, "mod": "zero"}, "mod", "mode"),
        ("shopkit.Folder", {"root": "x", "bach": 3}, "bach", "batch"),
        ("shopkit.build", {"depth": 3, "nmae": "x"}, "nmae", "name"),
        ("shopkit.build", {"depth": 3, "verbos": True}, "verbos", "verbose"),
        ("shopkit.half", {"nam": "x"}, "nam", "name"),
        ("torch.optim.SGD", {"_partial_": True, "momentun": 0.9}, "momentun", "momentum"),
        ("pytorch_lightning.Trainer", {"max_epoch": 3}, "max_epoch", "max_epochs"),
        ("imgclf.models.mlp.MLP", {"_partial_": True, "num_clases": 3}, "num_clases", "num_classes"),  # of its base
    ],
)
def test_a_typo_leads_to_the_right_name_whatever_the_target_is(
    target: str, given: dict[str, Any], typed: str, right: str
) -> None:
    (line,) = problems({"_target_": target, **given})
    assert line.startswith(f"model.{typed}=")
    assert f"Did you mean 'model.{right}'?" in line


@pytest.mark.parametrize(
    ("node", "key"),
    [
        ({"_target_": "shopkit.Net"}, "hidden"),
        ({"_target_": "shopkit.Net", "_args_": []}, "hidden"),
        ({"_target_": "shopkit.Point"}, "x"),
        ({"_target_": "shopkit.Crop"}, "pad"),
        ({"_target_": "shopkit.Folder"}, "root"),
        ({"_target_": "shopkit.build"}, "depth"),
        ({"_target_": "pytorch_lightning.callbacks.EarlyStopping"}, "monitor"),
    ],
)
def test_what_is_needed_and_missing_is_named(node: dict[str, Any], key: str) -> None:
    (line,) = problems(node)
    assert f"+model.{key}=VALUE" in line


def test_all_problems_come_at_once_a_line_each() -> None:
    bad = {"_target_": "shopkit.Folder", "rot": "x", "root": "y"}
    lines = problems(
        {"_target_": "shopkit.Net", "hiden": [1], "dropout": "x", "inner": [bad, {"deep": bad}]},
        callbacks={"first": bad},
        seed="???",
    )
    assert [line.partition("=")[0].partition(":")[0] for line in lines] == [
        *("seed", "model.hiden", "model.dropout", "model.inner", "model.hidden"),
        *("model.inner[0].rot", "model.inner[1].deep.rot", "callbacks.first.rot"),
    ]


def test_what_is_made_later_by_its_owner_need_not_be_complete_but_right() -> None:
    inner = {"_target_": "shopkit.Net", "hiden": 1}
    node = {"_target_": "shopkit.Late", "hook": 1, "name": "x", "_recursive_": False, "inner": inner}
    (line,) = problems(node)
    assert line.startswith("model.inner.hiden=1")


def test_a_key_that_nothing_reads_is_refused_unless_something_refers_to_it() -> None:
    (line,) = problems({}, se=3)
    assert line.startswith("se=3: nothing reads this key")
    assert problems({}, se=3, trainer={"x": "${seed}"}, seed=1) == [line], "another key is referred to"
    assert problems({}, se=3, trainer={"x": "${se}"}) == []
    assert problems({}, se={"a": 1}, trainer={"x": "${se.a}"}) == []


def test_the_configuration_stays_as_it_was() -> None:
    config = OmegaConf.create({"size": 5, "model": {**NET, "dropout": "${size}", "folder": "???"}})
    OmegaConf.set_struct(config, True)
    before = OmegaConf.to_yaml(config)
    with pytest.raises(InputError):
        check(config, "train")
    assert OmegaConf.to_yaml(config) == before
    assert OmegaConf.is_struct(config)
