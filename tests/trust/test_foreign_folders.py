"""A run folder, a checkpoint or a cache that somebody else has made runs nothing here."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import ROOT, Door, Undisturbed
from own import OWN, network

from imgclf.errors import InputError
from imgclf.run_folder import RunFolder
from imgclf.trust import read_run_config

Read = Callable[..., dict[str, Any]]
MLP, LOGGER = "imgclf.models.mlp.MLP", {"_target_": "imgclf.tensorboard.TensorBoardLogger"}
CSV_LOGGER, PROFILER = "pytorch_lightning.loggers.CSVLogger", "pytorch_lightning.profilers.SimpleProfiler"


@pytest.fixture
def foreign(tmp_path: Path) -> Read:
    """Read a run folder that somebody else has written: ``foreign({"model": {...}}, trust=["mine."])``."""

    def read(config: Any, trust: tuple[str, ...] = (), purpose: Any = "resume") -> dict[str, Any]:
        file = tmp_path / ".hydra" / "config.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
        return read_run_config(RunFolder(tmp_path), trust, purpose)

    return read


def targets(node: Any) -> set[str]:
    below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    own = {node["_target_"]} if isinstance(node, dict) and "_target_" in node else set()
    return own.union(*map(targets, below))


def test_whatever_conf_composes_is_allowed_and_more_networks_which_download_nothing(foreign: Read) -> None:
    groups = ("data", "model", "optimizer", "schedule", "trainer", "callbacks", "logger", "metrics", "loss", "debug")
    files = [file for group in groups for file in (ROOT / "conf" / group).glob("*.yaml")]
    named = set().union(*(targets(yaml.safe_load(file.read_text())) for file in files))
    assert {MLP, "imgclf.optimizers.grouped.SGD", "imgclf.callbacks.stop.EarlyStopping"} <= named
    # What logs elsewhere could carry something away.
    named -= {"pytorch_lightning.loggers.WandbLogger", "pytorch_lightning.loggers.MLFlowLogger"}
    augmentation = "torchvision.transforms.v2.TrivialAugmentWide"
    for target in (*named, "torch.nn.Linear", "torchvision.models.resnet18", augmentation):
        foreign({"model": {"net": [{"_target_": target}]}})
    assert foreign({"logger": {"_target_": "pytorch_lightning.loggers.WandbLogger"}}, purpose="use") == {}
    assert foreign({"logger": {"x": {**LOGGER, "save_dir": "${folder}/tensorboard", "name": "", "version": "v1"}}})
    net = {"_target_": "torchvision.models.resnet18", "weights": "DEFAULT"}
    read = foreign({"data": {"download": 1, "url": "https://x/y.py"}, "model": {"net": net}})
    assert (read["data"], read["model"]["net"]["weights"]) == ({"download": False, "url": ""}, None)
    kappa = {"_target_": "torchmetrics.classification.MulticlassCohenKappa", "weights": "quadratic"}
    assert foreign({"model": {"metrics": {"kappa": kappa}}})["model"]["metrics"]["kappa"] == kappa
    assert foreign({"data": {"download": [1]}})["data"] == {"download": False}
    net["_target_"] = "imgclf.models.torchvision_net.torchvision_net"
    assert foreign({"model": {"metrics": {"x": dict(net)}}})["model"]["metrics"]["x"]["weights"] is None
    for purpose, trust, kept in (("use", (), None), ("rerun", ("torchvision.",), "DEFAULT")):
        assert foreign({"model": {"net": dict(net)}}, trust, purpose)["model"]["net"]["weights"] == kept
    with pytest.raises(InputError, match="weights=DEFAULT"):
        foreign({"model": {"net": net}})


@pytest.mark.parametrize(
    "target",
    [
        # Anybody's; of allowed packages, and dangerous (the handler starts a program); methods; what modules import.
        *("os.system", "builtins.eval", "eval", "mine.Net", "hydra.utils.instantiate", "torch.load", "torch.hub.load"),
        *("torchvision.models.segmentation.deeplabv3_resnet50", "torchvision.models.get_model"),
        "torchmetrics.image.LearnedPerceptualImagePatchSimilarity",
        *("pytorch_lightning.loggers.WandbLogger", "torch.utils.cpp_extension.load_inline"),
        "torch.distributed.elastic.multiprocessing.subprocess_handler.SubprocessHandler",
        *("imgclf.distributed.run", "imgclf.models.misfit.head_of"),
        *(f"{MLP}.load_from_checkpoint", f"{MLP}.__init__.__globals__", "torch.nn.Embedding.from_pretrained"),
        *("torch.nn.modules.module.functools.partial", "torchvision.models.resnet._log_api_usage_once"),
        *("", ".", f"{MLP}; import os", 7, None, ["os.system"], {"_target_": "os.system"}),
    ],
)
def test_nothing_else_is_however_it_is_reached(foreign: Read, target: object) -> None:
    node = {"_target_": target, "_args_": [3], "_partial_": True, "_recursive_": False}
    for config in ({"data": {"_target_": "imgclf.data.arrays.Arrays", "file": node}}, {"a": [[node]]}):
        with pytest.raises(InputError, match="_target_="):
            foreign(config)


@pytest.mark.parametrize(
    "config",
    [
        {"seed": "${oc.env:HOME}"},
        {"name": "../../elsewhere"},
        {"model": {"_target_": "${data.augment}"}, "data": {"augment": "os.system"}},
        {"data": {"dir": r"\${folder}${now:%Y}"}},
        {"hydra": {"callbacks": {"x": {"a": 1}}}},
        {"data": {"defaults": ["/model: mlp"]}},
        "a: " + "[" * 2000 + "]" * 2000,
        "model: !!python/object/apply:os.system ['echo harm']\n",
        {"logger": {"x": {**LOGGER, "save_dir": "${folder}/../../x"}}},
        *({"logger": {"x": {**LOGGER, "save_dir": "${folder}", "name": name}}} for name in ("../x", "wandb")),
        {"logger": {"x": {**LOGGER, "save_dir": "${folder}/wandb/x"}}},
        {"logger": {"x": {"_target_": CSV_LOGGER, "_args_": ["/home/somebody"]}}},
        {"model": {"net": {"_target_": "torchvision.models.resnet18", "_args_": [1]}}},
        {"trainer": {"profiler": {"_target_": PROFILER, "dirpath": "/tmp"}}},
        {"callbacks": {"x": {"_target_": "pytorch_lightning.callbacks.EarlyStopping", "file": "/tmp/x.csv"}}},
    ],
    ids=lambda config: str(config)[:60],
)
def test_references_files_elsewhere_and_what_steers_hydra_are_refused(foreign: Read, config: Any) -> None:
    with pytest.raises(InputError, match=r"config\.yaml"):
        foreign(config)


@pytest.mark.parametrize(
    ("target", "trust", "is_allowed"),
    [
        *(("mine.Net", (name,), True) for name in ("mine.", "mine.Net")),
        *(("mine.Net", trust, False) for trust in ((), ("mine",), ("mine.Ne",), ("min.",), ("*",), (".",))),
        ("mine.system", ("mine.",), False),  # what it has imported
        ("os.system", ("os.system",), True),
    ],
)
def test_a_module_is_trusted_for_what_it_defines_and_a_name_for_itself(
    foreign: Read, tmp_path: Path, monkeypatch: Any, target: str, trust: Any, is_allowed: bool
) -> None:
    (tmp_path / "mine.py").write_text("from os import system\nclass Net: ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = {"model": {"_target_": target}}
    with contextlib.nullcontext() if is_allowed else pytest.raises(InputError):
        assert foreign(config, trust=trust) == config


class Harm:
    """What a pickle of this does when it is loaded: the file of this name appears."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.file),))


@pytest.fixture
def shared(undisturbed: Undisturbed, tmp_path: Path) -> Path:
    """A finished run with a network of the user's own, to be changed."""
    run = undisturbed("debug=fast", "callbacks=bare", "logger=none", *network("Normed"), **OWN)
    return Path(shutil.copytree(run, tmp_path / "shared"))


def test_a_linked_file_is_not_written_to(foreign: Read, tmp_path: Path) -> None:
    for name, purpose in (("train.log", "resume"), ("exported", "use")):
        (tmp_path / name).symlink_to("victim")
        with pytest.raises(InputError, match=f"{name} is a link"):
            foreign({}, purpose=purpose)


def test_no_script_builds_what_a_changed_configuration_names(shared: Path, door: Door, tmp_path: Path) -> None:
    harm = {"_target_": "os.mkdir", "_args_": [str(tmp_path / "harm")]}
    file = shared / ".hydra" / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"model": harm, "data": {"resize": harm}}))
    ways = ("evaluate.py run", "predict.py run", "train.py resume", "train.py rerun")
    for command in ways:
        told = door(*f"{command}=shared trust=[own.]".split(), expect=2, **OWN).stderr
        assert told.startswith("error: shared/.hydra/config.yaml:\n")
    assert "is no number" in door("train.py", "init_from=shared", "hydra.run.dir=out", expect=2).stderr
    door("report.py", "sweep=shared", "out=out")
    assert {p.name for p in tmp_path.iterdir()} == {"shared", "out"}, "nothing was made or begun"


def test_a_network_of_ones_own_needs_a_word(shared: Path, door: Door) -> None:
    told = door("evaluate.py", "run=shared", expect=2, **OWN).stderr
    assert "model.net._target_=own.Normed" in told
    assert "'trust=[own.]'" in told
    assert "accuracy" in door("evaluate.py", "run=shared", "trust=[own.]", **OWN).stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_a_sweep_from_elsewhere_says_what_it_would_run_and_runs_nothing(door: Door, tmp_path: Path) -> None:
    file = tmp_path / "sweep" / "sweep.json"
    file.parent.mkdir()
    harm = f"+hydra.callbacks.harm={{_target_: os.mkdir, _args_: ['{tmp_path / 'harm'}']}}"
    file.write_text(json.dumps({"arguments": ["-m", "seed=0,1", harm], "directory": str(tmp_path)}))
    os.chown(file, 12345, -1)
    told = door("train.py", "-m", "sweep.resume=sweep", expect=2).stderr
    assert "seed=0,1" in told
    assert "trust=[]" in told
    assert not (tmp_path / "harm").exists()


def test_a_checkpoint_with_a_pickle_is_refused_and_not_run(shared: Path, door: Door, tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    for name in ("best", "last"):
        torch.save({"state_dict": {}, "global_step": 1, "x": Harm(harm)}, shared / "checkpoints" / f"{name}.ckpt")
    (shared / "metrics.json").unlink()
    for command, name in (("evaluate.py run=", "best"), ("train.py resume=", "last")):
        told = door(*f"{command}shared trust=[own.]".split(), expect=2, **OWN).stderr
        assert f"{name}.ckpt" in told
    assert not harm.exists()
