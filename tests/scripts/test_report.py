"""scripts/report.py as a user runs it."""

import csv
import json
import math
import re
import statistics
from pathlib import Path

import pytest
from conftest import Door

SWEEP = ("-m", "name=mini", "optimizer.lr=0.01,0.3", "debug=fast", "logger=none", "hydra.sweep.dir=sweep")


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    """A folder of two runs, as far as a report needs them."""
    for number, acc in enumerate((0.5, 0.7)):
        run = tmp_path / "made up" / str(number)
        (run / ".hydra").mkdir(parents=True)
        (run / ".hydra" / "config.yaml").write_text(f"seed: 0\noptimizer:\n  lr: 0.{number + 1}\n")
        (run / ".hydra" / "overrides.yaml").write_text("[]\n")
        (run / "run.json").write_text(json.dumps({"seed": 0, "outcome": "finished"}))
        (run / "metrics.json").write_text(json.dumps({"test/acc": acc, "seconds": 1.0}))
    return tmp_path / "made up"


def test_a_real_sweep(door: Door, tmp_path: Path) -> None:
    door("train.py", *SWEEP, "seed=0,1", "data.batch_size=500")
    done = door("report.py", "sweep=sweep")
    accs: dict[float, list[float]] = {}
    validated: dict[float, list[float]] = {}
    jobs = sorted(file.parent for file in (tmp_path / "sweep").glob("*/metrics.json"))
    assert len(jobs) == 4
    for job in jobs:
        config = (job / ".hydra" / "config.yaml").read_text()
        rate = float(re.search(r"^  lr: (\S+)$", config, re.MULTILINE)[1])  # type: ignore[index]
        metrics = json.loads((job / "metrics.json").read_text())
        accs.setdefault(rate, []).append(metrics["test/acc"])
        validated.setdefault(rate, []).append(metrics["best/val/acc"])
    order = sorted(validated, key=lambda rate: -statistics.mean(validated[rate]))
    table = done.stdout.splitlines()[3:5]
    for line, rate in zip(table, order, strict=True):
        best, test = (
            f"{statistics.mean(values[rate]):.4f} ± {statistics.stdev(values[rate]):.4f}"
            for values in (validated, accs)
        )
        assert re.match(rf" *{rate} +{best} +{test} .* 2$", line), line
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith("best:"))
    assert "report: sweep/report.html" in done.stdout
    assert {"report.html", "report.csv"} <= {path.name for path in (tmp_path / "sweep").iterdir()}
    html = (tmp_path / "sweep" / "report.html").read_text()
    assert "Learning curves" in html
    assert html.count('class="panel"') == 6, "four curves, the effect of the rate, the rates themselves"
    with (tmp_path / "sweep" / "report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(float(row["test/acc"]) for row in rows) == sorted(sum(accs.values(), []))
    assert all(math.isfinite(float(row["val/loss"])) for row in rows)

    # What differs between two of its runs, and that a run is identical to itself.
    differ = door("report.py", f"diff=[{jobs[0]},{jobs[1]}]").stdout
    assert "seed" in differ
    assert not re.search(r"^ +optimizer\.lr ", differ, re.MULTILINE)
    assert "from epoch 1 on" in differ
    assert door("report.py", f"diff=[{jobs[0]},{jobs[0]}]").stdout.count("identical") == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sweep"], "nothing is written elsewhere"


def test_where_it_is_written_and_how_it_is_sorted(door: Door, made_up: Path, tmp_path: Path) -> None:
    done = door("report.py", "sweep='made up'", "out=elsewhere", "sort=lr", "rows=1")
    assert re.search(r"^0\.1|^ *0\.1", done.stdout.splitlines()[3])
    assert "and 1 more setting" in done.stdout
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == ["report.csv", "report.html"]
    assert not (made_up / "report.html").exists()
    door("report.py", "sweep=['made up/0','made up/1']")
    assert len(list((tmp_path / "logs" / "reports").glob("*/report.html"))) == 1


def test_bad_input(door: Door, made_up: Path, tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        done = door("report.py", *arguments, expect=2)
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "give one of sweep and diff" in refused()
    assert "give one of sweep and diff" in refused("sweep=a", "diff=[a,b]")
    assert "there is no folder nowhere" in refused("sweep=nowhere")
    assert "Did you mean sweep?" in refused("swep=a")
    assert "there is no such metric or differing setting" in refused("sweep='made up'", "sort=acc")
    assert "rows=many" in refused("sweep='made up'", "rows=many")
    assert "rows=0" in refused("sweep='made up'", "rows=0")
    assert "diff compares two runs, got 1" in refused("diff=['made up/0']")
    assert "sweep=5" in refused("sweep=5")
    assert "sweep needs folders" in refused("sweep=[]")
    assert [path.name for path in tmp_path.iterdir()] == ["made up"]


def test_torch_is_not_loaded(door: Door, made_up: Path) -> None:
    loaded = door("report.py", "sweep='made up'", PYTHONPROFILEIMPORTTIME="1").stderr
    assert "imgclf.report" in loaded
    assert not re.search(r"\| +(torch|pytorch_lightning|matplotlib|numpy)$", loaded, re.MULTILINE)


def test_a_terminal_that_knows_no_plus_minus(door: Door, made_up: Path) -> None:
    assert "mean ? standard" in door("report.py", "sweep='made up'", PYTHONIOENCODING="ascii").stdout
