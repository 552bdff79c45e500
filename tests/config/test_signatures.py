"""Signatures read from source are those that Python itself would show."""

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from imgclf.config.signatures import signature
from imgclf.errors import InputError

THIRD_PARTY = [
    "torch.optim.SGD",
    "torch.optim.AdamW",
    "torch.optim.lr_scheduler.OneCycleLR",
    "torch.nn.CrossEntropyLoss",
    "torch.utils.data.DataLoader",
    "pytorch_lightning.Trainer",
    "pytorch_lightning.LightningModule",
    "pytorch_lightning.callbacks.ModelCheckpoint",
    "pytorch_lightning.callbacks.EarlyStopping",
    "pytorch_lightning.callbacks.LearningRateMonitor",
    "pytorch_lightning.loggers.TensorBoardLogger",
    "pytorch_lightning.loggers.CSVLogger",
    "torchvision.models.get_model",
    "torchvision.models.resnet18",
    "torchvision.models.googlenet",  # a function of the package and also one of its modules
    "torchmetrics.Accuracy",  # made in __new__
]


@pytest.mark.parametrize("target", THIRD_PARTY)
def test_equals_what_python_shows_after_importing_it(target: str) -> None:
    module, _, name = target.rpartition(".")
    real = inspect.signature(getattr(importlib.import_module(module), name)).parameters.values()
    variadic = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    found = signature(target)
    assert found is not None
    assert [(p.name, p.kind, p.has_default) for p in found.parameters.values()] == [
        (p.name, p.kind, p.default is not p.empty) for p in real if p.kind not in variadic
    ]
    assert found.accepts_any == any(p.kind is inspect.Parameter.VAR_KEYWORD for p in real)


@pytest.mark.parametrize(
    ("target", "names", "required", "accepts_any"),
    [
        ("shopkit.base.Base", "net num_classes lr label_smoothing compile", "net num_classes", False),
        # Plain gives `net` itself and lets the rest through: a re-export, a relative import, two classes.
        (
            "shopkit.Plain",
            "hidden activation dropout size name folder scale hook depth loose flag"
            " num_classes lr label_smoothing compile",
            "hidden num_classes",
            False,
        ),
        ("shopkit.nets.plain.Open", "", "", True),  # its **options go nowhere that can be seen
        ("shopkit.nets.plain.Popping", "", "", True),  # takes some of them out before they go to the base
        ("shopkit.Base", "net num_classes lr label_smoothing compile", "net num_classes", False),  # by star
        ("shopkit.base.Base.from_file", "path strict", "path", False),
        ("shopkit.nets.plain.Plain.from_file", "path strict", "path", False),  # inherited
        ("shopkit.base.build", "name", "size name", True),
        ("shopkit.data.Folder", "root batch_size cache seed", "root", False),
        ("shopkit.data.Split", "root batch_size cache seed ratio", "root ratio", False),
        ("shopkit.data.Marked", "a b", "a b", False),
        ("shopkit.data.Bare", "", "", False),
    ],
)
def test_of_a_projects_own_class(shopkit: Path, target: str, names: str, required: str, accepts_any: bool) -> None:
    found = signature(target, project="shopkit")
    assert found is not None
    assert found.keywords == names.split()
    assert [p.name for p in found.parameters.values() if not p.has_default] == required.split()
    assert found.accepts_any is accepts_any


def test_inherited_constructor_is_the_bases(shopkit: Path) -> None:
    narrow, plain = (signature(f"shopkit.nets.plain.{n}", project="shopkit") for n in ("Narrow", "Plain"))
    assert narrow is not None
    assert plain is not None
    assert narrow.parameters == plain.parameters


def test_kwargs_of_other_peoples_classes_accept_anything(shopkit: Path) -> None:
    found = signature("shopkit.Plain", project="another")
    assert found is not None
    assert found.accepts_any


@pytest.mark.parametrize(
    "target",
    [
        "shopkit.branches.Either",  # two classes of that name, one a platform
        "shopkit.lazy.Anything",  # made by __getattr__
        "pathlib.Path",
        "torch.manual_seed",
        "pytorch_lightning.callbacks.NoSuchThing",
        "torchvision.models.ResNet18_Weights",  # an Enum
    ],
)
def test_what_cannot_be_told_is_unknown_not_wrong(shopkit: Path, target: str) -> None:
    assert signature(target, project="shopkit") is None


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("shopkit.nets.plain.Plian", ["no 'Plian' in shopkit.nets.plain", "'shopkit.nets.plain.Plain'"]),
        ("shopkit.nets.plane.Plain", ["no 'plane' in shopkit.nets", "'shopkit.nets.plain.Plain'"]),
        ("shopkit.nets.Plain", ["no 'Plain' in shopkit.nets", "'shopkit.nets.plain.Plain'"]),
        ("shopkit.base", ["is a module", "'shopkit.base."]),
        ("shopkit.base.Base.from_fil", ["no 'from_fil' in class", "'shopkit.base.Base.from_file'"]),
        ("shopkit.broken.Half", ["broken.py", "mend"]),
        ("torhc.optim.SGD", ["no package 'torhc'", "'torch'"]),
        ("SGD", ["'SGD'", "package.module.Name"]),
        ("shopkit..base", ["package.module.Name"]),
    ],
)
def test_a_target_that_does_not_exist_is_named_with_the_nearest_that_does(
    shopkit: Path, target: str, parts: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        signature(target, project="shopkit")
    for part in [target, *parts]:
        assert part in str(caught.value)


def test_imports_in_a_circle_end(shopkit: Path) -> None:
    assert signature("shopkit.circle.Round", project="another") is None


def test_nothing_heavy_is_imported_on_the_way() -> None:
    code = f"""
import sys, time
from imgclf.config.signatures import signature
start = time.perf_counter()
for target in {THIRD_PARTY!r}:
    assert signature(target) is not None, target
took = time.perf_counter() - start
heavy = sorted({{"torch", "torchvision", "pytorch_lightning", "torchmetrics", "hydra"}} & set(sys.modules))
print(heavy, took < 5.0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "[] True"
