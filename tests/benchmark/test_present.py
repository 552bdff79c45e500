"""What a benchmark shows for numbers that are known."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from imgclf.benchmark.plan import Comparison
from imgclf.benchmark.present import line, ratios, write


def row(unit: str = "images/s", **values: list[float]) -> Comparison:
    return Comparison("training mlp", unit, {}, values)


def test_ratios_are_taken_within_a_round() -> None:
    measured = row(product=[100.0, 30.0], plain=[10.0, 10.0], limit=[200.0, 40.0])
    assert ratios(measured, "plain") == [10.0, 3.0]
    assert ratios(measured, "limit") == [0.5, 0.75]
    assert ratios(row(product=[1.0]), "plain") == []


def test_of_seconds_fewer_are_better() -> None:
    assert ratios(row("s", product=[4.0], limit=[3.0]), "limit") == [0.75]


def test_a_line_gives_medians_and_the_spread_of_the_ratios() -> None:
    text = line(row(product=[100.0, 30.0, 50.0], plain=[10.0, 10.0, 10.0], limit=[200.0, 40.0, 100.0]))
    assert " ".join(text.split()) == "training mlp, images/s 10.0 50.0 100 5.00 (3.00-10.00) 0.50 (0.50-0.75)"


def test_the_order_of_the_ways_turns(tmp_path: Path) -> None:
    order: list[str] = []
    ways = {name: lambda name=name: order.append(name) or 1.0 for name in ("product", "limit", "plain")}  # type: ignore[misc]
    comparison = Comparison("x", "s", ways)
    for number in range(3):
        comparison.measure(number)
    assert order == ["product", "limit", "plain", "limit", "plain", "product", "plain", "product", "limit"]


def test_the_files_hold_every_value_and_the_chart_is_not_blank(tmp_path: Path) -> None:
    rows = [row(product=[100.0], plain=[10.0], limit=[200.0]), row(product=[5.0], plain=[4.0])]
    numbers, chart = write(rows, {"cores": 2}, tmp_path)
    found = json.loads(numbers.read_text())
    assert found["results"][0]["values"] == {"product": [100.0], "plain": [10.0], "limit": [200.0]}
    assert found["machine"]["cores"] == 2
    pixels = np.asarray(Image.open(chart).convert("RGB"))
    assert pixels.shape[1] == 1200
    blue = (np.abs(pixels.astype(int) - [0x00, 0x72, 0xB2]).sum(axis=2) < 10).mean()
    assert 0.02 < blue < 0.5
