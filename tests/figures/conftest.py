"""What the tests of several pictures share."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def ink() -> Callable[[Path], float]:
    """Share of the pixels of a PNG file that are not white; the file must be 1200 pixels wide."""

    def share(file: Path) -> float:
        pixels = np.asarray(Image.open(file).convert("RGB"))
        assert pixels.shape[1] == 1200
        assert 150 <= pixels.shape[0] <= 3000
        return float((pixels < 250).any(axis=2).mean())

    return share
