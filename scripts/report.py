"""Compare runs: ``uv run scripts/report.py --help``."""

from imgclf.cli import main

if __name__ == "__main__":
    main("report")
