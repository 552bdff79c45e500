"""Classify a run's unlabelled images: ``uv run scripts/predict.py --help``."""

from imgclf.cli import main

if __name__ == "__main__":
    main("predict")
