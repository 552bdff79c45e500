"""What is said where an extra is not installed, or its key is wrong."""

import subprocess
import sys
from pathlib import Path

from conftest import Refused
from engines.conftest import needs

EXTRAS = {
    **{"hydra/launcher=joblib": "joblib", "hydra/launcher=submitit_slurm": "slurm", "hydra/launcher=ray": "ray"},
    **{"hydra/sweeper=optuna": "optuna", "search=mlp": "optuna", "hydra/launcher=submitit_local": "slurm"},
}


def test_a_missing_extra_is_named_before_anything_heavy_is_loaded(train: Path, tmp_path: Path) -> None:
    # Hydra finds plugins by the package hydra_plugins, which is kept from it here.
    program = f"""
import runpy, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] == 'hydra_plugins':
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
for choice in {list(EXTRAS)}:
    sys.argv = [{str(train)!r}, '-m', choice, 'seed=0,1']
    try:
        runpy.run_path(sys.argv[0], run_name='__main__')
    except SystemExit as end:
        print(end.code, 'torch' in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.stdout.splitlines() == ["2 False"] * len(EXTRAS), done.stderr
    for line, extra in zip(done.stderr.splitlines(), EXTRAS.values(), strict=True):
        assert f"uv run --extra {extra} scripts/train.py" in line
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_launchers_key_of_the_wrong_type_is_answered_at_once(refused: Refused) -> None:
    needs("submitit", "hydra_plugins.hydra_submitit_launcher", extra="slurm")
    wrong = "hydra.launcher.timeout_min=abc"
    refused(f"train.py -m hydra/launcher=submitit_slurm {wrong}", "hydra.launcher.timeout_min")
