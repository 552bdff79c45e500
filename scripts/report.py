"""Compare runs: ``uv run scripts/report.py --help``."""

from pathlib import Path

from imgclf.config.door import open_door

if __name__ == "__main__":
    open_door("report", task="imgclf.run.report:report", config_dir=Path(__file__).parents[1] / "conf")
