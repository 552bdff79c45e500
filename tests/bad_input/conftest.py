"""An empty folder to run commands in, and the competition in small."""

from pathlib import Path

import pytest
from refused import kaggle

import imgclf.cli  # noqa: F401 -- its resolvers, before Hydra's state is first put back


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of its own, which is the working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def competition(here: Path) -> Path:
    """Kaggle's competition, 40 training and 4 test images, in data/."""
    for name, content in kaggle().items():
        (here / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "data" / name).write_bytes(content)
    return here / "data"
