"""Tables and pictures of learning rates."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imgclf.figures.canvas import save
from imgclf.figures.schedules import draw_schedules, rate_table

HALVING = {"plain": [1.0, 0.5, 0.25], "after a warm-up": [0.0, 1.0, 0.5]}


def test_a_row_a_line_and_a_column_an_update() -> None:
    text = rate_table({"halving": HALVING, "single": {"": [0.1, 0.1, 0.1]}}, [0, 2])
    assert text.splitlines() == [
        "learning rate at update     0     2",
        "halving, plain              1  0.25",
        "halving, after a warm-up    0   0.5",
        "single                    0.1   0.1",
    ]


@pytest.mark.parametrize("count", [1, 7])
def test_pictures(count: int, tmp_path: Path, ink: Callable[[Path], float]) -> None:
    panels = {f"schedule {i}": HALVING if i % 2 else {"": [0.3] * 3} for i in range(count)}
    assert ink(save(draw_schedules(panels, "epoch"), tmp_path / "schedules.png")) > 0.01
