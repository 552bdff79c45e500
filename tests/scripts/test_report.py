"""scripts/report.py as a user runs it."""

import re
import statistics
from pathlib import Path

from conftest import Door, Refused
from run_files import metrics

SWEEP = ("-m", "optimizer.lr=0.01,0.3", "debug=fast", "callbacks=bare", "logger=none", "hydra.sweep.dir=sweep")


def test_a_real_sweep(door: Door, tmp_path: Path) -> None:
    made = door("train.py", *SWEEP, "seed=0,1", "data.batch_size=500").stdout
    done = door("report.py", "sweep=sweep").stdout
    validated: dict[str, list[float]] = {}
    jobs = sorted(file.parent for file in (tmp_path / "sweep").glob("*/metrics.json"))
    for job in jobs:
        rate = re.search(r"optimizer.lr@([\d.]+)", job.name)[1]  # type: ignore[index]
        validated.setdefault(rate, []).append(metrics(job)["best/val/acc"])
    order = sorted(validated, key=lambda rate: -statistics.mean(validated[rate]))
    for line, rate in zip(done.splitlines()[2:4], order, strict=True):
        best = f"{statistics.mean(validated[rate]):.4f} ± {statistics.stdev(validated[rate]):.2g}"
        assert re.match(rf"{rate} +{best} +2 ", line), line
        assert line in made, "the sweep's own report"
    assert re.search(rf"^best: uv run scripts/train.py .*optimizer.lr={order[0]}", done, re.MULTILINE)
    assert "report: sweep/report.html" in done
    options = ("sweep=[sweep]", "out=elsewhere", "sort=optimizer.lr", "rows=1")
    lines = door("report.py", *options, PYTHONIOENCODING="ascii").stdout.splitlines()
    assert "mean ? standard" in lines[0], "a terminal that knows no plus-minus"
    assert (lines[2].split()[0], lines[3]) == ("0.01", "? and 1 more, in report.html")
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == ["report.csv", "report.html"]
    differ = door("report.py", f"diff=[{jobs[0]},{jobs[1]}]").stdout
    assert re.search(r"^seed +0 +1$", differ, re.MULTILINE)
    assert not re.search(r"^optimizer\.lr ", differ, re.MULTILINE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "sweep"], "nothing is written elsewhere"


def test_what_cannot_be_reported(refused: Refused) -> None:
    refused("report.py sweep=a diff=[a,b]", "give one of sweep")
    refused("report.py sweep=nowhere", "there is no folder nowhere")
