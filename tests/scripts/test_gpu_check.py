"""scripts/gpu_check.sh, in small and without a GPU."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_every_check_of_the_dry_run_passes() -> None:
    command = [str(ROOT / "scripts" / "gpu_check.sh"), "--dry-run"]
    done = subprocess.run(command, env=os.environ | {"PYTHON": sys.executable}, capture_output=True, text=True)
    rows = [line.split(" | ") for line in done.stdout.splitlines()[2:]]
    assert [row for row in rows if row[1:2] != ["ok"]] == [], done.stdout + done.stderr
    assert (len(rows), done.returncode) == (14, 0)
