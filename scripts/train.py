"""Train, validate and test a network: ``uv run scripts/train.py --help``."""

from imgclf.cli import main

if __name__ == "__main__":
    main("train")
