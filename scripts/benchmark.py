"""Measure speed beside the plain way and beside the limit: ``uv run scripts/benchmark.py --help``."""

from imgclf.cli import benchmark, main

if __name__ == "__main__":
    main(benchmark)
