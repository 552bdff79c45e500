"""A wrong key or value is named with its full key and the nearest right one; a right one never raises."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from imgclf.config.check import check
from imgclf.errors import InputError

PLAIN: dict[str, Any] = {"_target_": "shopkit.Plain", "hidden": [256], "num_classes": 10}


def problems(cfg: dict[str, Any], **options: Any) -> list[str]:
    try:
        check(OmegaConf.create(cfg), project="shopkit", **options)
    except InputError as error:
        return str(error).splitlines()
    return []


ACCEPTED = [
    {"hidden": []},
    {"hidden": [1, 2, 3]},
    {"activation": "tanh"},
    {"dropout": 0},
    {"dropout": 0.5},
    {"size": 28},
    {"size": [28, 32]},
    {"name": None},
    {"name": "x"},
    {"name": ""},
    {"folder": "data/x"},
    {"scale": {"a": 1, "b": 2.5}},
    {"scale": None},
    {"hook": {"_target_": "torch.nn.ReLU"}},
    {"hook": "anything"},
    {"depth": None},
    {"loose": None},  # its default, though annotated int
    {"flag": False},
    {"lr": 0.1},
    {"label_smoothing": 0.1, "compile": True},
    {"lr": "${dropout}", "dropout": 0.5},
]


@pytest.mark.parametrize("given_values", ACCEPTED)
def test_what_the_annotation_allows_is_accepted(shopkit: Path, given_values: dict[str, Any]) -> None:
    node = {**PLAIN, **given_values}
    if node.get("lr") == "${dropout}":
        node["lr"] = "${model.dropout}"
    assert problems({"model": node}) == []


@pytest.mark.parametrize(
    ("given_values", "parts"),
    [
        ({"hidden": 256}, ["model.hidden=256", "a list of int", "got an int", "[256]"]),
        ({"hidden": "256,128"}, ["model.hidden=256,128", "a list of int", "[256,128]"]),
        ({"hidden": [1.5]}, ["model.hidden=[1.5]", "a list of int"]),
        ({"hidden": ["a"]}, ["model.hidden=[a]", "a list of int"]),
        ({"hidden": None}, ["model.hidden=null", "a list of int", "got null"]),
        ({"activation": "rleu"}, ["model.activation=rleu", "one of relu, tanh", "'relu'"]),
        ({"activation": 3}, ["model.activation=3", "one of relu, tanh"]),
        ({"dropout": "1e-3"}, ["model.dropout=1e-3", "expected float", "got text", "without quotes: 0.001"]),
        ({"dropout": "1e-7"}, ["without quotes: 1.0e-07"]),
        ({"dropout": True}, ["model.dropout=true", "expected float"]),
        ({"dropout": ""}, ["model.dropout=", "expected float", "length 0"]),
        ({"size": 1.0}, ["model.size=1.0", "expected int or a list [int, int]", "Write 1"]),
        ({"size": [1, 2, 3]}, ["model.size=[1,2,3]", "a list [int, int]", "length 3"]),
        ({"size": True}, ["model.size=true"]),
        ({"name": 7}, ["model.name=7", "text or null", "\"'7'\""]),
        ({"folder": 7}, ["model.folder=7", "a path or null"]),
        ({"scale": {"a": "b"}}, ["model.scale={a:b}", "a mapping from text to float"]),
        ({"scale": [1]}, ["model.scale=[1]", "a mapping"]),
        ({"depth": "deep"}, ["model.depth=deep", "int or null"]),
        ({"flag": "yes"}, ["model.flag=yes", "true or false", "Write true"]),
        ({"flag": 0}, ["model.flag=0", "Write false"]),
        ({"num_classes": "ten"}, ["model.num_classes=ten", "expected int"]),  # reached through **kwargs
        ({"lr": "fast"}, ["model.lr=fast", "expected float"]),  # float | Tensor
        ({"compile": 1}, ["model.compile=1", "true or false"]),
        ({"activaton": "relu"}, ["model.activaton=relu", "no parameter 'activaton'", "'model.activation'"]),
        ({"net": None}, ["model.net=null", "no parameter 'net'"]),  # Plain gives it itself
        ({"qqqq": 1}, ["model.qqqq=1", "It takes: hidden, activation"]),
    ],
)
def test_what_it_does_not_allow_is_named(shopkit: Path, given_values: dict[str, Any], parts: list[str]) -> None:
    lines = problems({"model": {**PLAIN, **given_values}})
    assert len(lines) == 1
    for part in parts:
        assert part in lines[0]


def test_all_problems_come_at_once_a_line_each(shopkit: Path) -> None:
    lines = problems(
        {
            "seed": "???",
            "model": {"_target_": "shopkit.Plain", "hiden": [1], "num_classes": "ten"},
            "data": {"_target_": "shopkit.data.Folder", "root": "${nowhere}", "batch_size": "???"},
        }
    )
    assert [line.split(":")[0].split("=")[0] for line in lines] == [
        "seed",
        "model.hiden",
        "model.num_classes",
        "model.hidden",
        "data.root",
        "data.batch_size",
    ]


@pytest.mark.parametrize(
    ("node", "supplied", "expected"),
    [
        ({"_target_": "shopkit.base.Base"}, {}, ["model.net", "model.num_classes"]),
        ({"_target_": "shopkit.base.Base"}, {"model": {"net"}}, ["model.num_classes"]),
        ({"_target_": "shopkit.base.Base", "num_classes": "???"}, {"model": {"net"}}, ["model.num_classes"]),
        ({"_target_": "shopkit.base.Base", "num_classes": "???"}, {"model": {"net", "num_classes"}}, []),
        ({"_target_": "shopkit.base.Base", "_partial_": True}, {}, []),
        ({"_target_": "shopkit.base.Base", "_partial_": False, "_args_": [1]}, {}, ["model.num_classes"]),
        ({"_target_": "shopkit.base.Base", "_args_": [1, 2], "_convert_": "all"}, {}, []),
        ({"_target_": "shopkit.base.build", "name": "x"}, {}, ["model.size"]),  # can only be given by place
    ],
)
def test_required_arguments_must_be_given_by_somebody(
    shopkit: Path, node: dict[str, Any], supplied: dict[str, set[str]], expected: list[str]
) -> None:
    lines = problems({"model": node}, supplied=supplied)
    assert [line.split(":")[0].split("=")[0] for line in lines] == expected


def test_what_is_made_later_by_its_owner_need_not_be_complete(shopkit: Path) -> None:
    inner = {"_target_": "shopkit.base.Base", "lrr": 1}
    node = {"_target_": "shopkit.nets.plain.Open", "_recursive_": False, "inner": inner}
    lines = problems({"model": node})
    assert len(lines) == 1
    assert "model.inner.lrr" in lines[0]


def test_nodes_inside_lists_and_mappings_are_found(shopkit: Path) -> None:
    bad = {"_target_": "shopkit.data.Folder", "rot": "x", "root": "y"}
    lines = problems({"callbacks": {"first": bad}, "many": [bad, {"deep": bad}]})
    assert [line.split("=")[0] for line in lines] == [
        "callbacks.first.rot",
        "many.0.rot",
        "many.1.deep.rot",
    ]


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("${nam}", ["data.root=${nam}", "no key 'nam'", "'name'"]),
        ("${oc.env:IMGCLF_SURELY_NOT_SET}", ["data.root", "IMGCLF_SURELY_NOT_SET", "${...}"]),
        ("${no_such_resolver:1}", ["data.root", "no_such_resolver"]),
        ("${size}", ["data.root=5 (from ${size})", "expected text"]),
    ],
)
def test_interpolations_are_resolved_or_named(shopkit: Path, value: str, parts: list[str]) -> None:
    lines = problems(
        {"name": "x", "size": 5, "data": {"_target_": "shopkit.data.Folder", "root": value}},
    )
    assert len(lines) == 1
    for part in parts:
        assert part in lines[0]


def test_paths_that_only_a_run_knows_are_left_alone(shopkit: Path) -> None:
    from hydra.core.utils import setup_globals

    setup_globals()
    root = "${hydra:runtime.output_dir}"
    assert problems({"data": {"_target_": "shopkit.data.Folder", "root": root}}) == []


def test_the_configuration_stays_as_it_was(shopkit: Path) -> None:
    OmegaConf.register_new_resolver("imgclf_test_count", lambda: 1.0, use_cache=True, replace=True)
    values = {**PLAIN, "dropout": "${imgclf_test_count:}", "lr": "${size}", "folder": "???"}
    cfg = OmegaConf.create({"size": 5, "model": values})
    OmegaConf.set_struct(cfg, True)
    before = OmegaConf.to_yaml(cfg)
    with pytest.raises(InputError):
        check(cfg, project="shopkit")
    assert OmegaConf.to_yaml(cfg) == before
    assert not OmegaConf.get_cache(cfg)  # nor was a resolver's answer kept in it
    assert OmegaConf.is_struct(cfg)


def test_a_targets_typo_is_one_of_the_problems(shopkit: Path) -> None:
    lines = problems({"model": {"_target_": "shopkit.Plian"}, "seed": "???"})
    assert len(lines) == 2
    assert lines[1].startswith("model._target_=shopkit.Plian: ")
    assert "'shopkit.nets.plain.Plain'" in lines[1]


TRAINER: dict[str, Any] = {"_target_": "pytorch_lightning.Trainer"}
FULL_TRAINER: dict[str, Any] = {
    **TRAINER,
    "accelerator": "auto",
    "strategy": "ddp",
    "devices": "auto",
    "num_nodes": 1,
    "precision": "bf16-mixed",
    "logger": False,
    "callbacks": None,
    "fast_dev_run": False,
    "max_epochs": 10,
    "max_steps": -1,
    "max_time": {"minutes": 5},
    "limit_train_batches": 0.5,
    "limit_val_batches": 3,
    "overfit_batches": 0,
    "val_check_interval": 0.25,
    "check_val_every_n_epoch": None,
    "num_sanity_val_steps": 0,
    "log_every_n_steps": 50,
    "enable_checkpointing": True,
    "enable_progress_bar": False,
    "accumulate_grad_batches": 2,
    "gradient_clip_val": 1,
    "gradient_clip_algorithm": "norm",
    "deterministic": "warn",
    "benchmark": None,
    "inference_mode": True,
    "profiler": "simple",
    "plugins": None,
    "sync_batchnorm": True,
    "default_root_dir": "logs",
}
RIGHT: list[dict[str, Any]] = [
    FULL_TRAINER,
    *({**TRAINER, "devices": devices} for devices in (1, "1", [0, 1], -1, "0,1")),
    *({**TRAINER, "precision": precision} for precision in (16, 32, 64, "16-mixed", "32-true", "bf16", None)),
    {**TRAINER, "deterministic": True, "max_time": "00:12:00:00", "limit_train_batches": 1.0},
    {**TRAINER, "logger": {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": "logs"}},
    {
        **TRAINER,
        "callbacks": [{"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "val/loss"}],
    },
    {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4},
    {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 1, "nesterov": False, "foreach": None},
    {"_target_": "torch.optim.AdamW", "_partial_": True, "betas": [0.9, 0.999], "eps": 1e-8, "fused": True},
    {
        "_target_": "pytorch_lightning.callbacks.ModelCheckpoint",
        "dirpath": "x",
        "filename": None,
        "monitor": "val/acc",
        "mode": "max",
        "save_last": "link",
        "save_top_k": 1,
        "auto_insert_metric_name": False,
        "train_time_interval": {"_target_": "datetime.timedelta", "minutes": 5},
    },
    {
        "_target_": "pytorch_lightning.loggers.TensorBoardLogger",
        "save_dir": "logs",
        "name": "",
        "version": 3,
        "default_hp_metric": False,
        "max_queue": 5,
    },
    {"_target_": "torchvision.models.get_model", "name": "resnet18", "weights": None, "num_classes": 10},
    {"_target_": "torchvision.models.resnet18", "weights": "DEFAULT", "progress": False, "num_classes": 10},
    {"_target_": "torchmetrics.Accuracy", "task": "multiclass", "num_classes": 10, "top_k": 1},
    {"_target_": "torch.nn.CrossEntropyLoss", "label_smoothing": 0.1, "weight": None},
]


@pytest.mark.parametrize("node", RIGHT, ids=lambda node: str(node["_target_"]))
def test_right_configurations_of_common_targets_raise_nothing(node: dict[str, Any]) -> None:
    check(OmegaConf.create({"node": node}))


@pytest.mark.parametrize(
    ("node", "parts"),
    [
        ({**TRAINER, "max_epoch": 3}, ["trainer.max_epoch=3", "'trainer.max_epochs'"]),
        ({**TRAINER, "max_epochs": ""}, ["trainer.max_epochs=", "int or null"]),
        ({**TRAINER, "max_epochs": "ten"}, ["trainer.max_epochs=ten", "int or null"]),
        ({**TRAINER, "max_epochs": 10.0}, ["trainer.max_epochs=10.0", "Write 10"]),
        ({**TRAINER, "precision": "bf16-mixd"}, ["trainer.precision=bf16-mixd", "'bf16-mixed'"]),
        ({**TRAINER, "precision": 16.0}, ["trainer.precision=16.0", "16-mixed"]),  # 16 it is, not 16.0
        ({**TRAINER, "precision": 8}, ["trainer.precision=8", "16-mixed"]),
        ({**TRAINER, "deterministic": "wran"}, ["trainer.deterministic=wran", "'warn'"]),
        ({**TRAINER, "default_root_dir": 5}, ["trainer.default_root_dir=5"]),
        ({"_target_": "torch.optim.SGD", "_partial_": True, "momentun": 0.9}, ["'trainer.momentum'"]),
        ({"_target_": "torch.optim.SGD", "_partial_": True, "lr": "abc"}, ["trainer.lr=abc", "float"]),
        ({"_target_": "torch.optim.SGD", "lr": 0.1}, ["trainer.params", "torch.optim.SGD needs it"]),
        ({"_target_": "torch.optim.AdamW", "_partial_": True, "betas": 0.9}, ["a list [float, float]"]),
        ({"_target_": "pytorch_lightning.callbacks.EarlyStopping"}, ["trainer.monitor", "needs it"]),
    ],
)
def test_wrong_ones_are_named(node: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        check(OmegaConf.create({"trainer": node}))
    for part in parts:
        assert part in str(caught.value)


@st.composite
def misspelt(draw: st.DrawFn) -> tuple[str, str]:
    """A key of the full Trainer and the same with one letter dropped, doubled, swapped or replaced."""
    key = draw(st.sampled_from([name for name in FULL_TRAINER if name != "_target_"]))
    at = draw(st.integers(0, len(key) - 1))
    letter = draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz_"))
    kind = draw(st.sampled_from(["drop", "double", "swap", "replace"]))
    if kind == "drop":
        typed = key[:at] + key[at + 1 :]
    elif kind == "double":
        typed = key[: at + 1] + key[at:]
    elif kind == "swap":
        typed = key[:at] + key[at : at + 2][::-1] + key[at + 2 :]
    else:
        typed = key[:at] + letter + key[at + 1 :]
    return key, typed


@settings(max_examples=100, deadline=None)
@given(misspelt())
def test_any_slip_of_a_key_is_named_and_leads_back_to_a_key(slip: tuple[str, str]) -> None:
    key, typed = slip
    assume(typed not in FULL_TRAINER and typed != "")
    node = {typed if name == key else name: value for name, value in FULL_TRAINER.items()}
    with pytest.raises(InputError) as caught:
        check(OmegaConf.create({"trainer": node}))
    assert f"trainer.{typed}" in str(caught.value)
    # Where two keys are equally near, as min_epochs and max_epochs are to mnx_epochs, either is a good answer.
    suggested = re.search(r"Did you mean 'trainer\.(\w+)'\?", str(caught.value))
    assert suggested is not None
    assert suggested[1] == key or is_one_slip(suggested[1], typed)


def is_one_slip(key: str, typed: str) -> bool:
    """Whether a letter was left out, added or exchanged, or two neighbours were swapped."""
    left_out = [key[:at] + key[at + 1 :] for at in range(len(key))]
    added = [typed[:at] + typed[at + 1 :] for at in range(len(typed))]
    differing = [at for at in range(len(key)) if key[at] != typed[at]] if len(key) == len(typed) else []
    swapped = len(differing) == 2 and [key[at] for at in differing] == [typed[at] for at in differing[::-1]]
    return typed in left_out or key in added or len(differing) == 1 or (swapped and differing[1] == differing[0] + 1)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**6), 10**6),
        st.floats(allow_nan=False),
        st.text("abc ,'", max_size=5),
        st.lists(st.integers(0, 9), max_size=3),
    )
)
def test_int_parameters_take_ints_and_nothing_else(shopkit: Path, value: object) -> None:
    lines = problems({"model": {**PLAIN, "num_classes": value}})
    is_int = isinstance(value, int) and not isinstance(value, bool)
    assert (lines == []) is is_int
    assert is_int or lines[0].startswith("model.num_classes=")


def test_a_typical_configuration_is_checked_without_importing_torch() -> None:
    code = f"""
import sys, time
from omegaconf import OmegaConf
from imgclf.config.check import check
cfg = OmegaConf.create({{str(i): node for i, node in enumerate({RIGHT!r})}})
start = time.perf_counter()
check(cfg)
took = time.perf_counter() - start
print("torch" in sys.modules, "pytorch_lightning" in sys.modules, took < 5.0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[0] == "False False True"
