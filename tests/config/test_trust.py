"""What a run folder from elsewhere may name in its configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from imgclf.errors import InputError
from imgclf.run_folder import RunFolder
from imgclf.trust import read_run_config

CONF = Path(__file__).parents[2] / "conf"
Read = Callable[..., dict[str, Any]]


@pytest.fixture
def foreign(tmp_path: Path) -> Read:
    """Make a run folder that somebody else has written, and read it: ``foreign({"model": {...}}, trust=["mine."])``."""

    def read(config: Any, trust: tuple[str, ...] = ()) -> dict[str, Any]:
        folder = RunFolder(tmp_path)
        folder.config_file.parent.mkdir(exist_ok=True)
        folder.config_file.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
        return read_run_config(folder, trust)

    return read


def targets(node: Any) -> set[str]:
    below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    own = {node["_target_"]} if isinstance(node, dict) and "_target_" in node else set()
    return own.union(*map(targets, below))


def test_whatever_conf_composes_is_allowed(foreign: Read) -> None:
    groups = ("data", "model", "optimizer", "schedule", "trainer", "callbacks", "logger", "debug")
    named = set().union(*(targets(yaml.safe_load(f.read_text())) for g in groups for f in (CONF / g).glob("*.yaml")))
    assert {"imgclf.models.mlp.MLP", "torch.optim.SGD", "pytorch_lightning.callbacks.EarlyStopping"} <= named
    for target in named:
        foreign({"model": {"_target_": target}})


@pytest.mark.parametrize(
    "target",
    [
        *("torch.optim.SGD", "torch.optim.adamw.AdamW", "torch.nn.Linear", "torchvision.models.resnet18"),
        *("pytorch_lightning.loggers.TensorBoardLogger", "imgclf.models.torchvision_net.torchvision_net"),
    ],
)
def test_networks_optimizers_and_loggers_are_allowed(foreign: Read, target: str) -> None:
    assert foreign({"model": {"net": [{"_target_": target}]}})


@pytest.mark.parametrize(
    "target",
    [
        # Anybody's.
        *("os.system", "builtins.eval", "eval", "subprocess.Popen", "mine.Net", "hydra.utils.instantiate"),
        # Of allowed packages, and dangerous; the handler starts a program.
        *("torch.load", "torch.hub.load", "torch.utils.cpp_extension.load_inline"),
        "torch.distributed.elastic.multiprocessing.subprocess_handler.SubprocessHandler",
        "torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler.SubprocessHandler",
        "pytorch_lightning.core.saving.load_hparams_from_yaml",
        *("imgclf.distributed.run", "imgclf.cli.main", "imgclf.build.built", "imgclf.images.download.download"),
        # Methods.
        "imgclf.models.mlp.MLP.load_from_checkpoint",
        "pytorch_lightning.LightningModule.load_from_checkpoint",
        "torch.nn.Embedding.from_pretrained",
        "imgclf.models.mlp.MLP.__init__.__globals__",
        # Through what allowed modules have imported.
        *("imgclf.data.module.torch.load", "imgclf.data.module.torch", "imgclf.callbacks.checkpoints.shutil.rmtree"),
        *("imgclf.run_folder.Path", "imgclf.run_folder.FileLock", "torch.nn.modules.module.functools.partial"),
        *("torchvision.models.resnet._log_api_usage_once", "torch.nn.modules.module.torch._C"),
        # No names at all.
        *("", ".", "imgclf.models.mlp.MLP; import os", "imgclf..models", 7, None, ["os.system"]),
        {"_target_": "os.system"},
    ],
)
@pytest.mark.parametrize(
    "wrap", [lambda node: {"model": node}, lambda node: {"a": {"_recursive_": False, "b": [[node]]}}]
)
def test_nothing_else_is_however_it_is_reached(foreign: Read, target: object, wrap: Callable[[Any], Any]) -> None:
    with pytest.raises(InputError, match="_target_="):
        foreign(wrap({"_target_": target, "_args_": [3], "_partial_": True, "_convert_": "all"}))


def test_the_message_names_key_target_and_remedy(foreign: Read) -> None:
    with pytest.raises(InputError, match=r"model\.net\._target_=mine\.nets\.Net: .*'trust=\[mine\.nets\.\]'"):
        foreign({"model": {"net": {"_target_": "mine.nets.Net"}}})
    with pytest.raises(InputError, match=r"model\._target_=imgclf\.models\.mlp\.Gone: .*another version"):
        foreign({"model": {"_target_": "imgclf.models.mlp.Gone"}})


LOGGER = {"_target_": "imgclf.tensorboard.TensorBoardLogger"}


@pytest.mark.parametrize(
    "config",
    [
        {"seed": "${oc.env:HOME}"},
        {"model": {"_target_": "${data.augment}"}, "data": {"augment": "os.system"}},
        {"data": {"dir": r"\${folder}${now:%Y}"}},
        {"hydra": {"callbacks": {"x": {"a": 1}}}},
        {"defaults": [{"override /hydra/launcher": "joblib"}]},
        {"data": {"defaults": ["/model: mlp"]}},
        "a: &a\n  b: *a\n",
        "a: " + "[" * 2000 + "]" * 2000,
        "model: !!python/object/apply:os.system ['echo harm']\n",
        # Files beside its own.
        {"logger": {"x": {**LOGGER, "save_dir": "/home/somebody"}}},
        {"logger": {"x": {**LOGGER, "save_dir": "${folder}/../../x"}}},
        {"logger": {"x": {**LOGGER, "save_dir": "${folder}", "name": "../x"}}},
        {"logger": {"x": {**LOGGER, "save_dir": "${folder}", "sub_dir": "/x"}}},
        {"logger": {"x": {"_target_": "pytorch_lightning.loggers.CSVLogger", "_args_": ["/home/somebody"]}}},
        {"trainer": {"profiler": {"_target_": "pytorch_lightning.profilers.SimpleProfiler", "dirpath": "/tmp"}}},
        {"callbacks": {"x": {"_target_": "imgclf.callbacks.epoch_table.EpochTable", "file": "/tmp/x.csv"}}},
    ],
    ids=lambda config: str(config)[:60],
)
def test_references_files_and_what_steers_hydra_are_refused(foreign: Read, config: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.yaml"):
        foreign(config)


def test_what_a_run_writes_and_reads_itself_is_allowed(foreign: Read) -> None:
    assert foreign({"logger": {"x": {**LOGGER, "save_dir": "${folder}/tensorboard", "name": "", "version": "v1"}}})
    assert foreign({"data": {"dir": "/data/cifar-10", "cache_dir": "/data/cifar-10/.decoded"}})
    sequence = {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "torch.nn.ReLU"}]}
    assert foreign({"model": {"net": sequence}})


def test_nothing_is_downloaded_that_the_command_line_does_not_ask_for(foreign: Read) -> None:
    net = {"_target_": "torchvision.models.resnet18", "weights": "DEFAULT", "num_classes": 10}
    read = foreign({"data": {"download": True}, "model": {"net": net}})
    assert read["data"]["download"] is False
    assert read["model"]["net"] == net | {"weights": None}


@pytest.mark.parametrize(
    ("target", "trust", "is_allowed"),
    [
        ("mine.Net", ("mine.",), True),
        ("mine.Net", ("mine.Net",), True),
        ("mine.net", ("mine.",), True),
        *(("mine.Net", trust, False) for trust in ((), ("mine",), ("mine.Ne",), ("mine.nets.",), ("min.",))),
        ("mine.os.system", ("mine.",), False),
        ("mine.system", ("mine.",), False),
        ("mine.Net.make", ("mine.",), False),
        ("os.system", ("os.system",), True),
    ],
)
def test_a_module_is_trusted_for_what_it_defines_and_a_name_for_itself(
    foreign: Read,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    trust: tuple[str, ...],
    is_allowed: bool,
) -> None:
    (tmp_path / "modules").mkdir()
    own = "class Net:\n    @classmethod\n    def make(cls): ...\ndef net(): ...\n"
    (tmp_path / "modules" / "mine.py").write_text(f"import os\nfrom os import system\n{own}")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    config = {"model": {"_target_": target}}
    if is_allowed:
        assert foreign(config, trust=trust) == config
    else:
        with pytest.raises(InputError):
            foreign(config, trust=trust)


@pytest.mark.parametrize("name", ["", "*", ".", "os.sys tem", "mine..", "a-b."])
def test_trust_takes_names_alone(foreign: Read, name: str) -> None:
    with pytest.raises(InputError, match="trust="):
        foreign({"seed": 0}, trust=(name,))
