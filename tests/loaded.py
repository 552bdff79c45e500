"""Whether a program has loaded torch, which takes seconds."""

from pathlib import Path


def telling_of_torch(folder: Path) -> dict[str, str]:
    """Variables for a script that is to end its errors with a line ``torch loaded: False``, or ``True``."""
    (folder / "sitecustomize.py").write_text(
        "import atexit, sys\natexit.register(lambda: print('torch loaded:', 'torch' in sys.modules, file=sys.stderr))\n"
    )
    return {"PYTHONPATH": str(folder)}
