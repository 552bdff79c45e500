"""A stopped run goes on to the very numbers of one that nothing has stopped; a finished one is done again."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Door, Undisturbed
from own import OWN, argument, stopping
from run_files import Board, assert_same, metrics, run_json, table

SHORT = ("debug=fast", "trainer.max_epochs=2", "model.dropout=0.3", "logger=none", "callbacks=bare")
# Dropout and a schedule by batch: what a step draws, and where it stands, must both continue.
RUN = (
    *("trainer.max_epochs=2", "trainer.log_every_n_steps=4", "trainer.accumulate_grad_batches=2", "model.dropout=0.3"),
    *("optimizer.momentum=0.9", "optimizer.lr=0.05", "data.augment=pad_crop_flip"),
    *("schedule=cosine", "schedule.interval=batch", "schedule.warmup_updates=20"),
)


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_run_stopped_by_ctrl_c_continues(door: Door, tmp_path: Path, undisturbed: Undisturbed) -> None:
    folder = tmp_path / "run"
    given = (*RUN, stopping(tmp_path / "armed", "SIGINT", step=25), "hydra.run.dir=run")  # 18 steps an epoch
    done = door("train.py", *given, expect=130, **OWN)
    assert run_json(folder)["outcome"] == "interrupted"
    assert "SIGINT; continue with: uv run scripts/train.py resume=" in done.stderr
    assert not (folder / "metrics.json").exists()

    door("train.py", "resume=run", "trust=[own.]", "trainer.devices=99", expect=2, **OWN)
    assert "trainer.accelerator=cpu" in door("train.py", "resume=run", "trainer=cpu", expect=2).stderr
    door("train.py", "resume=run", "trust=[own.]", "data.num_workers=2", **OWN)
    assert_same(folder, undisturbed(*RUN))
    curves = Board(folder).repeatable()
    assert curves == Board(undisturbed(*RUN)).repeatable(), "no point of a curve is missing, none is there twice"
    assert len(curves) > 8
    assert (run_json(folder)["outcome"], len(run_json(folder)["resumed"])) == ("finished", 1)
    door("evaluate.py", "run=run", "trust=[own.]", stopping(tmp_path / "armed", "SIGINT"), expect=130, **OWN)


def test_a_finished_run_is_trained_further_in_a_folder_that_was_moved(door: Door, tmp_path: Path) -> None:
    whole, moved = tmp_path / "whole", tmp_path / "a place"
    door("train.py", *SHORT, "hydra.run.dir=whole")
    door("train.py", *SHORT[:3], *SHORT[4:], "logger=csv", "trainer.max_epochs=1", "hydra.run.dir=first")
    (tmp_path / "first").rename(moved)
    rows = (moved / "csv" / "metrics.csv").read_text()
    door("train.py", "resume=a place", "trainer.max_epochs=2", "trainer.log_every_n_steps=5")
    assert_same(moved, whole)
    assert not (tmp_path / "first").exists()
    assert "damaged" not in door("report.py", "sweep=.").stdout, "what a logger keeps is no run"
    (more,) = moved.glob("csv/from_step_*/metrics.csv")
    assert (moved / "csv" / "metrics.csv").read_text() == rows != more.read_text()
    (whole / "metrics.json").unlink()  # as though it had been stopped before its test
    door("train.py", "resume=whole")
    assert metrics(whole) == metrics(moved)


def test_a_run_is_done_again_and_compared(door: Door, tmp_path: Path) -> None:
    door("train.py", *SHORT, "hydra.run.dir=first")
    first = tmp_path / "first"
    assert "optimizer.lr" in door("train.py", "rerun=first", "optimizer.lr=0.3", expect=2).stderr, "only as it was"
    done = door("train.py", "rerun=first")
    again = Path(re.search(r"run folder: +(\S+)", done.stdout)[1])  # type: ignore[index]
    assert again.parent == tmp_path / "logs" / "runs" / "mlp_fashion_mnist_mini"
    assert f"the same numbers as {first}" in done.stdout
    assert (metrics(again), table(again)) == (metrics(first), table(first))
    assert (run_json(again)["rerun_of"], run_json(again)["reproduced"]) == (str(first), True)

    # The first run as another machine would have left it.
    edit(first / "run.json", threads=7, versions={"torch": "2.0.0"}, git={"commit": "f" * 40, "dirty": False})
    edit(first / "metrics.json", **{"test/acc": 0.5})
    done = door("train.py", "rerun=first", "hydra.run.dir=third", expect=1)
    for line in ("versions.torch: 2.0.0 then,", "git.commit: ffff"):
        assert line in done.stderr[: done.stderr.index("epoch 1/2")], "said before training"
    assert f"other numbers than {first}: test/acc\n" in done.stdout
    assert run_json(tmp_path / "third")["reproduced"] is False

    # Half done, and begun with other images.
    (first / "metrics.json").unlink()
    assert "resume=" in door("train.py", "rerun=first", expect=2).stderr
    data = run_json(again)["data"]
    edit(first / "run.json", data=data | {"train": data["train"] | {"digest": "0" * 16}})
    assert "train images" in door("train.py", "resume=first", "trainer.max_epochs=3", expect=2).stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "count", "mib"),
    [
        (("data.augment=pad_crop_flip", "callbacks=ema", "data.batch_size=500", "trainer.max_epochs=12"), 12, 16),
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
