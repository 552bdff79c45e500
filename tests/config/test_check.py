"""A wrong key or value is named with its full key and the nearest right one; a right one never raises."""

import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from imgclf.check import check
from imgclf.errors import InputError

SHOPKIT = """
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

class Base:
    def __init__(self, width: int, lr: float = 0.1) -> None: ...
class Net(Base):
    def __init__(self, hidden: list[int], activation: Literal["relu", "tanh"] = "relu", dropout: float = 0.0,
                 size: int | tuple[int, int] = 28, folder: Path | None = None, scale: dict[str, float] | None = None,
                 loose: int = None, flag: bool = True) -> None: ...
class Late(Base):
    def __init__(self, hook: "Nowhere", name: "str", **options: Any) -> None: ...
@dataclass
class Folder:
    root: str
    batch: int = 32
    seen: int = field(default=0, init=False)
"""
GROUPS = ("data", "model", "optimizer", "schedule", "trainer")
NET = {"_target_": "shopkit.Net", "hidden": [256]}


@pytest.fixture(autouse=True)
def _shopkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "shopkit.py").write_text(SHOPKIT)
    (tmp_path / "broken.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("shopkit", "broken"):
        sys.modules.pop(name, None)


def problems(node: Any, key: str = "model", **top: Any) -> list[str]:
    try:
        check(OmegaConf.create({group: {} for group in GROUPS} | {key: node} | top), "train")
    except InputError as error:
        return str(error).splitlines()
    return []


TRAINER = {"devices": [0, 1], "precision": "bf16-mixed", "max_time": {"minutes": 5}, "limit_train_batches": 0.5}
TRAINER |= {"deterministic": "warn", "profiler": "simple", "check_val_every_n_epoch": None, "gradient_clip_val": 1}
RIGHT: list[dict[str, Any]] = [
    {**NET, "hidden": [], "activation": "tanh", "dropout": 0, "size": [28, 32], "folder": "data/x", "flag": False},
    {**NET, "scale": {"a": 1, "b": 2.5}, "folder": None, "loose": None},  # its default, whatever the annotation says
    {**NET, "dropout": "${trainer.x}", "_partial_": True, "_convert_": "all", "_recursive_": True},
    {"_target_": "shopkit.Late", "hook": 3, "name": "x", "width": "anything"},
    {"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 1, "betas": [0.9, 0.999], "fused": True},
    {"_target_": "torchvision.models.resnet18", "weights": "DEFAULT", "progress": False, "num_classes": 10},
    {"_target_": "pytorch_lightning.Trainer", **TRAINER},
]


def test_what_a_target_takes_is_accepted() -> None:
    assert [found for node in RIGHT if (found := problems(node, trainer={"x": 0.5}))] == []


@pytest.mark.parametrize(
    ("target", "given", "words"),
    [
        ("shopkit.Net", {"hidden": 256}, ["model.hidden=256: ", "array"]),
        ("shopkit.Net", {**NET, "activation": "rleu"}, ["model.activation=rleu: ", "'relu' or 'tanh'"]),
        ("shopkit.Net", {**NET, "dropout": "1e-3x"}, ["model.dropout=1e-3x: ", "number"]),
        ("shopkit.Net", {**NET, "dropout": float("nan")}, ["model.dropout=nan: ", "finite"]),
        ("shopkit.Net", {**NET, "flag": "yes"}, ["model.flag=yes: ", "boolean"]),
        ("shopkit.Net", {**NET, "dropout": "${nowhere}"}, ["model.dropout: ", "nowhere"]),
        ("shopkit.Nut", NET, ["model._target_=shopkit.Nut: "]),
        ("broken.Net", NET, ["model._target_=broken.Net: ", "division by zero"]),
        (7, {}, ["model._target_=7: "]),
        # unknown names, and the nearest right one, whatever the target is
        ("shopkit.Net", {**NET, "qqqq": 1}, ["model.qqqq=1: ", "hidden, activation"]),
        ("shopkit.Net", {**NET, "width": 1}, ["model.width=1: shopkit.Net"]),  # its base's, which it gives itself
        ("shopkit.Net", {**NET, "activaton": "relu"}, ["model.activaton=relu: ", "'model.activation'?"]),
        ("shopkit.Folder", {"root": "x", "bach": 3}, ["model.bach=3: ", "'model.batch'?"]),
        ("imgclf.models.mlp.MLP", {"_partial_": True, "num_clases": 3}, ["'model.num_classes'?"]),  # of its base
        # missing
        ("shopkit.Net", {}, ["+model.hidden=VALUE"]),
    ],
)
def test_what_it_does_not_take_or_lacks_is_named_in_one_line(target: Any, given: dict[str, Any], words: Any) -> None:
    (line,) = problems({**given, "_target_": target})
    assert [word for word in words if word not in line] == []


def test_all_problems_come_at_once_a_line_each_and_the_configuration_stays_as_it_was() -> None:
    bad = {"_target_": "shopkit.Folder", "rot": "x", "root": "y"}
    unready = {"_target_": "shopkit.Late", "hook": 1, "name": "x", "_recursive_": False, "inner": {**NET, "hiden": 1}}
    net = {"_target_": "shopkit.Net", "hiden": [1], "dropout": "x", "inner": [bad, {"deep": bad}]}
    callbacks = {"first": bad, "later": unready}  # made by its owner: it need not be complete, but right
    given = OmegaConf.create({group: {} for group in GROUPS} | {"model": net, "callbacks": callbacks, "seed": "???"})
    before = OmegaConf.to_yaml(given)
    with pytest.raises(InputError) as told:
        check(given, "train")
    assert [line.partition("=")[0].partition(":")[0] for line in str(told.value).splitlines()] == [
        *("seed", "model.hiden", "model.dropout", "model.inner", "model.hidden", "model.inner[0].rot"),
        *("model.inner[1].deep.rot", "callbacks.first.rot", "callbacks.later.inner.hiden"),
    ]
    assert OmegaConf.to_yaml(given) == before


def test_a_key_that_nothing_reads_is_refused_unless_something_refers_to_it() -> None:
    (line,) = problems({}, se=3)
    assert line.startswith("se=3: ")
    assert problems({}, se=3, trainer={"x": "${seed}"}, seed=1) == [line], "another key is referred to"
    assert problems({}, se={"a": 1}, trainer={"x": "${se.a}"}) == []
