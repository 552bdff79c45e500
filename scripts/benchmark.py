"""Measure speed beside the plain way and beside the limit: ``uv run scripts/benchmark.py --help``."""

from pathlib import Path

from imgclf.config.door import open_door

if __name__ == "__main__":
    open_door("benchmark", task="imgclf.benchmark.main:benchmark", config_dir=Path(__file__).parents[1] / "conf")
