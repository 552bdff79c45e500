"""Every file of conf/ composes with the others, passes the check, and says what it is."""

import itertools
from pathlib import Path

import pytest
from conftest import ROOT
from hydra.utils import instantiate
from omegaconf import OmegaConf

import imgclf

CONF = ROOT / "conf"
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
