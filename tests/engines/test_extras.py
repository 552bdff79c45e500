"""What is said where an extra is not installed, and that the configurations fit the plugins."""

import subprocess
import sys
from pathlib import Path

import pytest

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
