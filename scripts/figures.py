"""Draw pictures and print tables of the textbook chapters: ``uv run scripts/figures.py --help``."""

from pathlib import Path

from imgclf.config.door import open_door

if __name__ == "__main__":
    open_door("figures", task="imgclf.run.figures:figures", config_dir=Path(__file__).parents[1] / "conf")
