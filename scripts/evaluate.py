"""Test a finished run from its folder: ``uv run scripts/evaluate.py --help``."""

from pathlib import Path

from imgclf.config.door import open_door

if __name__ == "__main__":
    open_door("evaluate", task="imgclf.run.evaluate:evaluate", config_dir=Path(__file__).parents[1] / "conf")
