"""Train, validate and test a network: ``uv run scripts/train.py --help``."""

from pathlib import Path

from imgclf.config.door import open_door

if __name__ == "__main__":
    open_door("train", task="imgclf.run.train:train", config_dir=Path(__file__).parents[1] / "conf")
