"""Long runs and long sweeps hold no more memory, files and processes at their end than after a while.

CI runs a short form; ``IMGCLF_LONG=1`` 200 epochs, 100 jobs of a sweep in one process, and a report of 1,000 runs.
"""

import csv
import json
import os
import re
import time
from pathlib import Path

import pytest
import yaml
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
        "sweep.preflight=false",
        *gauge(file, each_epoch=False),
        **GAUGES,
    )
    found = readings(file)
    assert len(found) == jobs
    assert_flat(found, settled=jobs // 4, allowed_bytes=(40 if LONG else 24) * MIB)


@pytest.mark.skipif(not LONG, reason="runs with IMGCLF_LONG=1")
def test_a_report_of_a_thousand_runs_takes_seconds(door: Door, tmp_path: Path) -> None:
    door("train.py", "debug=fast", "logger=none", "hydra.run.dir=one")
    config = yaml.safe_load((tmp_path / "one" / ".hydra" / "config.yaml").read_text())
    about = json.loads((tmp_path / "one" / "run.json").read_text())
    metrics = json.loads((tmp_path / "one" / "metrics.json").read_text())
    with (tmp_path / "one" / "metrics.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    for number in range(1000):
        folder = tmp_path / "many" / str(number)
        (folder / ".hydra").mkdir(parents=True)
        config["seed"], config["optimizer"]["lr"] = number % 5, 0.001 * (1 + number // 5)
        (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
        (folder / ".hydra" / "overrides.yaml").write_text(f"[optimizer.lr={config['optimizer']['lr']}]")
        (folder / "run.json").write_text(json.dumps(about))
        (folder / "metrics.json").write_text(json.dumps(metrics | {"test/acc": number / 1000}))
        with (folder / "metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows(row | {"epoch": epoch} for epoch in range(20))
    begin = time.perf_counter()
    said = door("report.py", "sweep=many").stdout
    seconds = time.perf_counter() - begin
    print(f"\na report of 1,000 runs of 20 epochs: {seconds:.1f} s")
    # Rates 0.001 to 0.2, each with five seeds.
    assert re.search(r"^ *0\.2 +0\.9970 ± 0\.0016 .* 5$", said, re.MULTILINE), said
    assert seconds < 60
