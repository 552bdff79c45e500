"""What is said where an extra is not installed, and that the configurations fit the plugins."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Door
from engines.conftest import needs
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

# Hydra finds plugins by the package hydra_plugins, which is kept from it here.
PROGRAM = """
import runpy, sys, time
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == 'hydra_plugins':
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
sys.argv = ARGUMENTS
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
finally:
    print('HEAVY', sorted({'torch', 'pytorch_lightning'} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("choice", "extra"),
    [
        ("hydra/launcher=submitit_slurm", "slurm"),
        ("hydra/launcher=submitit_local", "slurm"),
        ("hydra/launcher=ray", "ray"),
        ("hydra/sweeper=optuna", "optuna"),
        ("search=mlp", "optuna"),
    ],
)
def test_a_missing_extra_is_named_before_anything_heavy_is_loaded(
    train: Path, tmp_path: Path, choice: str, extra: str
) -> None:
    program = PROGRAM.replace("ARGUMENTS", repr([str(train), "-m", choice, "seed=0,1"]))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 2, done.stderr
    assert f"uv run --extra {extra} scripts/train.py" in done.stderr
    assert choice in done.stderr
    assert "HEAVY []" in done.stdout
    assert not list(tmp_path.iterdir()), "nothing is left behind"


SLURM = ["submitit", "hydra_plugins.hydra_submitit_launcher"]
MODULES = {
    "submitit_slurm": (SLURM, "slurm"),
    "submitit_local": (SLURM, "slurm"),
    "ray": (["ray", "hydra_plugins.hydra_ray_launcher"], "ray"),
    "optuna": (["optuna", "hydra_plugins.hydra_optuna_sweeper"], "optuna"),
}


@pytest.fixture
def composed() -> Iterator[type]:
    class Composer:
        def __new__(cls, *overrides: str) -> DictConfig:  # type: ignore[misc]
            return compose("train", list(overrides), return_hydra_config=True)

    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield Composer
    GlobalHydra.instance().clear()


@pytest.mark.filterwarnings("ignore:.*validated against ConfigStore schema")
@pytest.mark.parametrize("launcher", ["submitit_slurm", "submitit_local", "ray"])
def test_the_launchers_take_our_configurations(composed: type, launcher: str) -> None:
    modules, extra = MODULES[launcher]
    needs(*modules, extra=extra)
    written = OmegaConf.load(ROOT / "conf" / "hydra" / "launcher" / f"{launcher}.yaml")
    config = composed(f"hydra/launcher={launcher}")
    assert written.keys() <= config.hydra.launcher.keys()
    assert config.hydra.runtime.choices["hydra/launcher"] == launcher


def test_a_launchers_key_of_the_wrong_type_is_answered_at_once(door: Door) -> None:
    needs(*SLURM, extra="slurm")
    wrong = ["hydra.launcher.timeout_min=abc", "hydra.launcher.timeout=5"]
    for argument in wrong:
        done = door("train.py", "-m", "hydra/launcher=submitit_slurm", argument, expect=2)
        assert argument.partition("=")[0] in done.stderr
        assert done.stderr.count("error: ") == 1


@pytest.mark.parametrize("search", sorted(file.stem for file in (ROOT / "conf" / "search").glob("*.yaml")))
def test_a_search_draws_keys_that_there_are(composed: type, search: str) -> None:
    modules, extra = MODULES["optuna"]
    needs(*modules, extra=extra)
    config = composed(f"search={search}")
    assert config.hydra.sweeper.direction == "maximize"
    for key, values in (config.hydra.sweeper.params or {}).items():
        assert OmegaConf.select(config, key) is not None, key
        assert OverridesParser.create().parse_override(f"{key}={values}").is_sweep_override(), key
