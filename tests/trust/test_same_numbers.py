"""The same seed gives the same numbers, whoever gathers the batches; long runs hold no more than short ones."""

import json
import os
from pathlib import Path

import pytest
from conftest import Door
from own import OWN, argument
from run_files import assert_same

LONG = bool(os.environ.get("IMGCLF_LONG"))  # 200 epochs and 100 jobs instead of a short form
MIB = 2**20
AUGMENT = ("data.augment=pad_crop_flip", "model.dropout=0.1")


@pytest.mark.filterwarnings("ignore")
def test_workers_that_gather_batches_change_nothing(door: Door, tmp_path: Path) -> None:
    given = (*AUGMENT, "trainer.max_epochs=2", "trainer.limit_train_batches=5", "logger=none", "test=false")
    for workers in (0, 2):
        door("train.py", *given, f"data.num_workers={workers}", f"hydra.run.dir=run{workers}")
    assert_same(tmp_path / "run0", tmp_path / "run2")


def assert_flat(file: Path, count: int, allowed_bytes: int) -> None:
    """After a quarter of the readings, when all has been loaded that is going to be."""
    found = [json.loads(line) for line in file.read_text().splitlines()]
    begin, end = found[count // 4], found[-1]
    assert len(found) == count
    assert end["bytes"] - begin["bytes"] < allowed_bytes, found
    for what in ("files", "threads", "children"):
        assert end[what] <= begin[what] + 2, (what, found)  # one or two come late; what leaks grows with the readings


def test_a_long_run_is_flat(door: Door, tmp_path: Path) -> None:
    epochs = 200 if LONG else 12
    gauge = argument("callbacks.gauge", "Gauge", file=tmp_path / "gauge")
    given = (*AUGMENT, "callbacks=ema", gauge, "data.batch_size=500", f"trainer.max_epochs={epochs}")
    door("train.py", *given, **OWN)
    assert_flat(tmp_path / "gauge", epochs, allowed_bytes=16 * MIB)


def test_a_long_sweep_in_one_process_is_flat(door: Door, tmp_path: Path) -> None:
    jobs = 100 if LONG else 8
    gauge = argument("callbacks.gauge", "Gauge", file=tmp_path / "gauge")
    door("train.py", "-m", f"seed={','.join(map(str, range(jobs)))}", "debug=fast", gauge, "sweep.report=false", **OWN)
    assert_flat(tmp_path / "gauge", jobs, allowed_bytes=(40 if LONG else 24) * MIB)
