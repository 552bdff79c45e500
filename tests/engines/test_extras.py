"""What is said where an extra is not installed, and that the configurations fit the plugins."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Door
from engines.conftest import needs
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

# Hydra finds plugins by the package hydra_plugins, which is kept from it here.
PROGRAM = """
import runpy, sys
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
SLURM = "submitit", "hydra_plugins.hydra_submitit_launcher"
MODULES = {
    "hydra/launcher=joblib": (("joblib", "hydra_plugins.hydra_joblib_launcher"), "joblib"),
    "hydra/launcher=submitit_slurm": (SLURM, "slurm"),
    "hydra/launcher=submitit_local": (SLURM, "slurm"),
    "hydra/launcher=ray": (("ray", "hydra_plugins.hydra_ray_launcher"), "ray"),
    "hydra/sweeper=optuna": (("optuna", "hydra_plugins.hydra_optuna_sweeper"), "optuna"),
    "search=mlp": (("optuna", "hydra_plugins.hydra_optuna_sweeper"), "optuna"),
    "search=resnet18": (("optuna", "hydra_plugins.hydra_optuna_sweeper"), "optuna"),
}


@pytest.mark.parametrize("choice", list(MODULES))
def test_a_missing_extra_is_named_before_anything_heavy_is_loaded(train: Path, tmp_path: Path, choice: str) -> None:
    program = PROGRAM.replace("ARGUMENTS", repr([str(train), "-m", choice, "seed=0,1"]))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 2, done.stderr
    assert f"uv run --extra {MODULES[choice][1]} scripts/train.py" in done.stderr
    assert "HEAVY []" in done.stdout
    assert not list(tmp_path.iterdir()), "nothing is left behind"


@pytest.mark.filterwarnings("ignore:.*validated against ConfigStore schema")
@pytest.mark.parametrize("choice", list(MODULES))
def test_the_plugins_take_our_configurations(choice: str) -> None:
    modules, extra = MODULES[choice]
    needs(*modules, extra=extra)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("train", [choice], return_hydra_config=True)
    GlobalHydra.instance().clear()
    assert config.hydra.runtime.choices[choice.partition("=")[0]] == choice.partition("=")[2]
    for key in config.hydra.sweeper.get("params") or {}:
        assert OmegaConf.select(config, key) is not None, key


def test_a_launchers_key_of_the_wrong_type_is_answered_at_once(door: Door) -> None:
    needs(*SLURM, extra="slurm")
    done = door("train.py", "-m", "hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=abc", expect=2)
    assert "hydra.launcher.timeout_min" in done.stderr
    assert done.stderr.count("error: ") == 1
