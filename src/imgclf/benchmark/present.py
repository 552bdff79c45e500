"""A benchmark's numbers as a table, a chart and JSON."""

import json
from pathlib import Path
from statistics import median
from typing import Any

from imgclf.benchmark.plan import Comparison
from imgclf.figures.canvas import BLUE, VERMILLION, save, sheet, tidy
from imgclf.run_folder import write_whole

HEAD = f"{'':40} {'plain':>9} {'product':>9} {'limit':>9}  {'x plain':>14}  {'of limit':>14}"


def ratios(row: Comparison, way: str) -> list[float]:
    """How many times as fast as ``way`` the product was, in each round; empty where there is no such way."""
    if way not in row.values or "product" not in row.values:
        return []
    pairs = zip(row.values["product"], row.values[way], strict=True)
    return [ours / other if row.unit == "images/s" else other / ours for ours, other in pairs]


def line(row: Comparison) -> str:
    """One row of the table: medians; ratios as median (least-greatest) over the rounds."""
    numbers = [_number(median(row.values[way])) if way in row.values else "" for way in ("plain", "product", "limit")]
    shares = [_spread(ratios(row, way)) for way in ("plain", "limit")]
    name = f"{row.name}, {row.unit}"
    return f"{name:40} {numbers[0]:>9} {numbers[1]:>9} {numbers[2]:>9}  {shares[0]:>14}  {shares[1]:>14}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}-{max(values):.2f})" if values else ""


def write(rows: list[Comparison], machine: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``benchmark.json`` and ``benchmark.png``.

    Args:
        rows: measured.
        machine: what it was measured on.
        folder: where to.

    Returns:
        The files.
    """
    results = [
        {
            "name": row.name,
            "unit": row.unit,
            "values": row.values,
            "median": {way: median(values) for way, values in row.values.items()},
            "times_plain": ratios(row, "plain"),
            "of_limit": ratios(row, "limit"),
        }
        for row in rows
    ]
    numbers = folder / "benchmark.json"
    write_whole(numbers, json.dumps({"machine": machine, "results": results}, indent=2) + "\n")
    return [numbers, chart(rows, folder / "benchmark.png")]


def chart(rows: list[Comparison], file: Path) -> Path:
    """How many times as fast as the plain way the product is, and its limit, as bars; written to ``file``."""
    shown = [row for row in rows if "plain" in row.values][::-1]
    figure = sheet(0.5 * len(shown) + 1.2)
    axes = figure.subplots()
    for place, row in enumerate(shown):
        plain = median(row.values["plain"])
        times = median(row.values["product"]) / plain
        axes.barh(place, times, height=0.6, color=BLUE)
        axes.text(times, place, f" {times:.1f}", va="center")
        if "limit" in row.values:
            limit = median(row.values["limit"]) / plain
            axes.plot([limit, limit], [place - 0.38, place + 0.38], color=VERMILLION, linewidth=2.5)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(shown)), [row.name for row in shown])
    axes.set_xlabel("times as fast as the plain way (orange: the limit, a loop over arrays in memory)")
    axes.set_xlim(left=0)
    axes.margins(x=0.12)
    tidy(axes)
    return save(figure, file)
