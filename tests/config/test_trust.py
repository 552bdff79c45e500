"""What a run folder from elsewhere may name in its configuration."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from imgclf.config.trust import targets, trust_of, trusted_config
from imgclf.errors import InputError
from imgclf.run_folder import RunFolder
from imgclf.seal import sealed_yaml

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def foreign(tmp_path: Path) -> Any:
    """Make a run folder that somebody else has written, and read it: ``foreign({"model": {...}}, trust=["mine."])``."""

    def read(config: Any, trust: tuple[str, ...] = (), tail: str = "") -> dict[str, Any]:
        folder = RunFolder(tmp_path)
        folder.config_file.parent.mkdir(exist_ok=True)
        text = config if isinstance(config, str) else yaml.safe_dump(config)
        folder.config_file.write_text(text + tail)
        return trusted_config(folder, trust)

    return read


def test_whatever_conf_composes_is_allowed_in_a_folder_of_anybodys(foreign: Any) -> None:
    groups = ("data", "model", "optimizer", "schedule", "trainer", "callbacks", "logger", "debug")
    named = set()
    for group in groups:
        for file in (CONF / group).glob("*.yaml"):
            named |= set(targets(yaml.safe_load(file.read_text())))
    assert {"imgclf.models.mlp.MLP", "torch.optim.SGD", "pytorch_lightning.callbacks.EarlyStopping"} <= named
    for target in named:
        foreign({"model": {"_target_": target}})


@pytest.mark.parametrize(
    "target",
    [
        "torch.optim.SGD",
        "torch.optim.adamw.AdamW",
        "torch.nn.Linear",
        "torchvision.models.resnet18",
        "pytorch_lightning.Trainer",
        "pytorch_lightning.loggers.TensorBoardLogger",
        "imgclf.models.torchvision_net.torchvision_net",
    ],
)
def test_networks_optimizers_and_trainers_are_allowed(foreign: Any, target: str) -> None:
    assert foreign({"model": {"net": [{"_target_": target}]}})


@pytest.mark.parametrize(
    "target",
    [
        # Anybody's.
        "os.system",
        "builtins.eval",
        "eval",
        "subprocess.Popen",
        "mine.Net",
        "hydra.utils.instantiate",
        # Of allowed packages, and dangerous.
        "torch.load",
        "torch.hub.load",
        "torch.utils.cpp_extension.load_inline",
        "pytorch_lightning.LightningModule.load_from_checkpoint",
        "pytorch_lightning.core.saving.load_hparams_from_yaml",
        "imgclf.models.mlp.MLP.load_from_checkpoint",
        "torch.nn.Embedding.from_pretrained",
        "imgclf.provenance._output",
        "imgclf.ranks.launch",
        "imgclf.config.door.open_door",
        "imgclf.run.build.built",
        "imgclf.images.download.download",
        # Through what allowed modules have imported.
        "imgclf.models.mlp.torch.load",
        "imgclf.data.module.torch.hub.load",
        "imgclf.callbacks.checkpoints.shutil.rmtree",
        "imgclf.data.module.warnings.sys.modules",
        "torch.nn.modules.module.functools.partial",
        "torch.optim.optimizer.torch.load",
        "torch.nn.modules.module.torch._C",
        "pytorch_lightning.callbacks.timer.os.system",
        "imgclf.models.mlp.MLP.__init__.__globals__",
        "imgclf.models.mlp.nn.Module.__subclasses__",
        "torchvision.models.resnet._log_api_usage_once",
        "torchvision.models.get_model_weights",
        # No names at all.
        "",
        ".",
        "imgclf.models.mlp.MLP; import os",
        "imgclf..models",
        7,
        None,
        ["os.system"],
        {"_target_": "os.system"},
    ],
)
@pytest.mark.parametrize(
    "wrap", [lambda node: {"model": node}, lambda node: {"a": {"_recursive_": False, "b": [[node]]}}]
)
def test_nothing_else_is_however_it_is_reached(foreign: Any, target: object, wrap: Any) -> None:
    node = {"_target_": target, "_args_": ["echo harm"], "_partial_": True, "_convert_": "all"}
    with pytest.raises(InputError, match=r"config\.yaml is not one of your own runs'"):
        foreign(wrap(node))


def test_the_message_names_key_target_and_remedy(foreign: Any) -> None:
    with pytest.raises(InputError) as refused:
        foreign({"model": {"net": {"_target_": "mine.nets.Net"}}})
    assert re.search(r"model\.net\._target_=mine\.nets\.Net: .* add 'trust=\[mine\.nets\.\]'", str(refused.value))


def test_a_class_that_this_version_lacks_is_told_of(foreign: Any) -> None:
    with pytest.raises(InputError, match=r"model\._target_=imgclf\.models\.mlp\.Gone: .*another version"):
        foreign({"model": {"_target_": "imgclf.models.mlp.Gone"}})


@pytest.mark.parametrize(
    "config",
    [
        {"seed": "${oc.env:HOME}"},
        {"model": {"_target_": "${data.augment}"}, "data": {"augment": "os.system"}},
        {"data": {"dir": "${oc.decode:x}"}},
        {"data": {"dir": r"\${folder}${now:%Y}"}},
        {"hydra": {"callbacks": {"x": {"a": 1}}}},
        {"defaults": [{"override /hydra/launcher": "joblib"}]},
        {"data": {"defaults": ["/model: mlp"]}},
        "a: &a\n  b: *a\n",
    ],
)
def test_references_and_what_steers_hydra_are_refused(foreign: Any, config: Any) -> None:
    with pytest.raises(InputError):
        foreign(config)


def test_the_runs_own_folder_may_be_referred_to(foreign: Any) -> None:
    assert foreign({"logger": {"save_dir": "${folder}/tensorboard"}})


def test_yaml_makes_no_objects(foreign: Any) -> None:
    with pytest.raises(InputError, match="damaged"):
        foreign("model: !!python/object/apply:os.system ['echo harm']\n")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "mine.py").write_text("import os\nclass Net:\n    pass\nNet2 = type('Net2', (), {})\n")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))


@pytest.mark.usefixtures("mine")
def test_a_module_is_trusted_for_what_it_defines_and_a_name_for_itself(foreign: Any) -> None:
    own = {"model": {"_target_": "mine.Net"}}
    assert foreign(own, trust=("mine.",))
    assert foreign(own, trust=("mine.Net",))
    for trust in ((), ("mine",), ("mine.Ne",), ("mine.nets.",), ("min.",), ("mine.Net2",)):
        with pytest.raises(InputError):
            foreign(own, trust=trust)
    with pytest.raises(InputError):
        foreign({"model": {"_target_": "mine.os.system"}}, trust=("mine.",))
    # Made when the module is run, so nothing tells what it is: only by its name.
    with pytest.raises(InputError):
        foreign({"model": {"_target_": "mine.Net2"}}, trust=("mine.",))
    assert foreign({"model": {"_target_": "mine.Net2"}}, trust=("mine.Net2",))


@pytest.mark.parametrize("name", ["", "*", ".", "os.sys tem", "mine..", "a-b."])
def test_trust_takes_names_alone(foreign: Any, name: str) -> None:
    with pytest.raises(InputError, match="trust="):
        foreign({"seed": 0}, trust=(name,))


@pytest.mark.parametrize(
    ("argument", "names"),
    [
        ("trust=[mine.]", ["mine."]),
        ("trust=[mine.Net,other.]", ["mine.Net", "other."]),
        ("trust=['mine.', \"a.b\"]", ["mine.", "a.b"]),
        ("trust=[]", []),
        ("trusty=[mine.]", []),
    ],
)
def test_trust_as_it_is_typed(argument: str, names: list[str]) -> None:
    assert trust_of(["run=x", argument]) == names


def test_ones_own_folder_may_name_anything_until_it_is_changed(foreign: Any) -> None:
    text = sealed_yaml(yaml.safe_dump({"model": {"_target_": "mine.Net"}}))
    assert foreign(text)
    with pytest.raises(InputError):
        foreign(text.replace("mine.Net", "mine.Nut"))
    with pytest.raises(InputError):
        foreign(text, tail="x: 1\n")
    with pytest.raises(InputError):
        foreign("x: 1\n" + text)


def test_a_seal_of_another_user_is_none(foreign: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody"))
    text = sealed_yaml(yaml.safe_dump({"model": {"_target_": "mine.Net"}}))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "me"))
    for _ in range(2):  # without a key of one's own, and with one
        with pytest.raises(InputError):
            foreign(text)
        sealed_yaml("")


def test_the_key_is_for_the_user_alone_and_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    once = sealed_yaml("a: 1\n")
    assert once.startswith("a: 1\n# seal: ")
    key = tmp_path / "imgclf" / "key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32
    assert sealed_yaml("a: 1\n") == once
    assert [p.name for p in key.parent.iterdir()] == ["key"]


def test_without_a_place_for_a_key_nothing_fails_and_nothing_is_trusted(
    foreign: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    text = sealed_yaml("model:\n  _target_: mine.Net\n")
    assert "seal" not in text
    with pytest.raises(InputError):
        foreign(text)
