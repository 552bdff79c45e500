"""Test a finished run from its folder: ``uv run scripts/evaluate.py --help``."""

from imgclf.cli import main

if __name__ == "__main__":
    main("evaluate")
