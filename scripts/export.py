"""Take a run's network along, as ONNX for one: ``uv run --extra export scripts/export.py --help``."""

from imgclf.cli import main

if __name__ == "__main__":
    main("export")
