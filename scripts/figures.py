"""Draw pictures and print tables of the textbook chapters: ``uv run scripts/figures.py --help``."""

from imgclf.cli import main

if __name__ == "__main__":
    main("figures")
