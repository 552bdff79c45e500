"""Long runs and long sweeps hold no more memory, files and processes at their end than after a while.

CI runs a short form; ``IMGCLF_LONG=1`` 200 epochs, and 100 jobs of a sweep in one process.
"""

import json
import os
from pathlib import Path

from conftest import Door

LONG = bool(os.environ.get("IMGCLF_LONG"))
GAUGES = {"PYTHONPATH": str(Path(__file__).parent / "gauges")}
MIB = 2**20


def gauge(file: Path, *, each_epoch: bool) -> tuple[str, ...]:
    settings = {"_target_": "gauge.Gauge", "file": file, "each_epoch": each_epoch}
    return tuple(f"+callbacks.gauge.{key}={value}" for key, value in settings.items())


def readings(file: Path) -> list[dict[str, int]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def assert_flat(found: list[dict[str, int]], settled: int, allowed_bytes: int) -> None:
    """From reading number ``settled`` on, where all has been loaded that is going to be."""
    begin, end = found[settled], found[-1]
    print(f"\n{len(found)} readings: {found[0]}, {begin} at {settled}, {end} at the end")
    assert end["bytes"] - begin["bytes"] < allowed_bytes, found
    for what in ("files", "threads", "children"):
        assert end[what] <= begin[what] + 2, (what, found)  # one or two come late; what leaks grows with the readings


def test_a_long_run_is_flat(door: Door, tmp_path: Path) -> None:
    epochs = 200 if LONG else 16
    file = tmp_path / "gauge"
    settings = ("model.dropout=0.1", "callbacks=ema", "data.augment=pad_crop_flip", *gauge(file, each_epoch=True))
    door("train.py", f"trainer.max_epochs={epochs}", "data.batch_size=500", *settings, **GAUGES)
    found = readings(file)
    assert len(found) == epochs
    assert_flat(found, settled=epochs // 4, allowed_bytes=16 * MIB)


def test_a_long_sweep_in_one_process_is_flat(door: Door, tmp_path: Path) -> None:
    jobs = 100 if LONG else 8
    file = tmp_path / "gauge"
    seeds = ",".join(map(str, range(jobs)))
    door(
        "train.py",
        "-m",
        f"seed={seeds}",
        "debug=fast",
        *gauge(file, each_epoch=False),
        **GAUGES,
    )
    found = readings(file)
    assert len(found) == jobs
    assert_flat(found, settled=jobs // 4, allowed_bytes=(40 if LONG else 24) * MIB)
