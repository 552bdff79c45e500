"""Classify a run's unlabelled images: ``uv run scripts/predict.py --help``."""

from pathlib import Path

from imgclf.config.door import open_door

if __name__ == "__main__":
    open_door("predict", task="imgclf.run.predict:predict", config_dir=Path(__file__).parents[1] / "conf")
