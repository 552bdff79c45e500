"""The same seed gives the same numbers, whoever gathers the batches; long runs hold no more than short ones."""

import json
from pathlib import Path

import pytest
from conftest import Door
from own import OWN, argument
from run_files import assert_same

AUGMENT = ("data.augment=pad_crop_flip", "model.dropout=0.1")


@pytest.mark.filterwarnings("ignore")
def test_workers_that_gather_batches_change_nothing(door: Door, tmp_path: Path) -> None:
    given = (*AUGMENT, "debug=fast", "trainer.max_epochs=2", "callbacks=bare", "logger=none", "test=false")
    for workers in (0, 2):
        door("train.py", *given, f"data.num_workers={workers}", f"hydra.run.dir=run{workers}")
    assert_same(tmp_path / "run0", tmp_path / "run2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "count", "mib"),
    [
        ((*AUGMENT, "callbacks=ema", "data.batch_size=500", "trainer.max_epochs=12"), 12, 16),
        (("-m", "seed=range(8)", "debug=fast", "sweep.report=false"), 8, 24),
    ],
    ids=["a run", "a sweep in one process"],
)
def test_a_long_one_is_flat(door: Door, tmp_path: Path, given: tuple[str, ...], count: int, mib: int) -> None:
    door("train.py", *given, argument("callbacks.gauge", "Gauge", file=tmp_path / "gauge"), **OWN)
    found = [json.loads(line) for line in (tmp_path / "gauge").read_text().splitlines()]
    assert len(found) == count
    begin, end = found[count // 4], found[-1]  # when all has been loaded that is going to be
    # One or two files and threads come late; what leaks grows with the readings.
    for what, allowed in {"files": 2, "threads": 2, "bytes": mib * 2**20}.items():
        assert end[what] <= begin[what] + allowed, (what, found)
