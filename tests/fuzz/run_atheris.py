"""Fuzz a reader guided by coverage, for as long as wanted; needs atheris, which the tests do without.

uv run --with atheris python tests/fuzz/run_atheris.py TARGET [-max_total_time=60] [libFuzzer's other options]
"""

import sys
import tempfile
from pathlib import Path

import atheris  # type: ignore[import-not-found]

sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["imgclf"]):
    from fuzz.targets import TARGETS, emptied, seeds


def main() -> None:
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, data in enumerate(seeds(name)):
            (corpus / str(number)).write_bytes(data)
        atheris.Setup([*sys.argv, str(corpus)], lambda data: TARGETS[name](data, emptied(Path(folder) / "input")))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
