"""Two runs held against each other."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from imgclf.errors import InputError
from imgclf.report import compare

MakeRun = Callable[..., Path]


def test_a_run_is_identical_to_its_repetition(make_run: MakeRun) -> None:
    a, b = make_run("a"), make_run("b", start="2027-01-01T00:00:00+00:00")
    slower = json.loads((b / "metrics.json").read_text()) | {"seconds": 99.0}
    (b / "metrics.json").write_text(json.dumps(slower))
    text = compare(a, b)
    for part in ("configuration", "provenance", "curves"):
        assert f"{part}: identical" in text
    assert "identical but for the time they took" in text
    assert "seconds               12.0 s -> 1:39" in text
    assert compare(a, a).count(": identical") == 4


def test_all_differences_are_named(make_run: MakeRun) -> None:
    a = make_run("a", acc=0.8, loss=0.5)
    b = make_run(
        "b",
        {"optimizer.lr": 0.3, "model.hidden_sizes": [16, 8], "model.dropout": "DELETE", "model.width": 2},
        seed=1,
        acc=0.9,
        loss=0.25,
        host="there",
        versions={"torch": "2.16.0"},
        git={"commit": "abcdef12" * 5, "dirty": True},
    )
    text = compare(a, b)
    for line in (
        r"seed +0 -> 1",
        r"optimizer\.lr +0\.1 -> 0\.3",
        r"model\.hidden_sizes +\[256\] -> \[16,8\]",
        r"model\.dropout +0\.0 -> –",
        r"model\.width +– -> 2",
        rf"git\.commit +{'1cdeefd0' * 5} -> {'abcdef12' * 5}",
        r"git\.dirty +false -> true",
        r"host +here -> there",
        r"versions\.torch +2\.15\.0 -> 2\.16\.0",
        r"test/acc +0\.800000 -> 0\.900000  \(\+0\.100000\)",
        r"test/loss +0\.500000 -> 0\.250000  \(-0\.250000\)",
        # In epoch e of 3 the accuracies are (e / 3) of 0.8 and 0.9, the losses 3 / e times 0.5 and 0.25.
        r"val/acc +from epoch 1 on; at most 0\.1, in epoch 3",
        r"val/loss +from epoch 1 on; at most 0\.75, in epoch 1",
        r"lr +from epoch 1 on; at most 0\.2, in epoch 1",
    ):
        assert re.search(rf"^  {line}$", text, re.MULTILINE), line
    assert "trainer" not in text
    assert "step " not in text


def test_curves_part_at_an_epoch(make_run: MakeRun) -> None:
    a, b, c = make_run("a"), make_run("b"), make_run("c", epochs=4)
    rows = (b / "metrics.csv").read_text().splitlines()
    rows[2] = rows[2].replace("0.75", "0.8125")  # the losses of the second epoch
    (b / "metrics.csv").write_text("\n".join(rows))
    text = compare(a, b)
    assert re.search(r"^  val/loss +from epoch 2 on; at most 0\.0625, in epoch 2$", text, re.MULTILINE)
    assert "val/acc" not in text.split("curves")[1]
    assert "A has 3 epochs, B 4; compared where both have one (3)" in compare(a, c)


def test_runs_that_diverged_or_have_not_finished(make_run: MakeRun) -> None:
    a, b, c = make_run("a"), make_run("b", loss=None), make_run("c", outcome="running", epochs=0)
    text = compare(a, b)
    assert re.search(r"test/loss +0\.500000 -> diverged$", text, re.MULTILINE)
    assert re.search(r"val/loss +from epoch 1 on; one of them diverged$", text, re.MULTILINE)
    assert compare(b, b).count(": identical") == 4, "not a number is not a number in both"
    text = compare(a, c)
    assert "B not finished: no final metrics" in text
    assert "B has no epoch in metrics.csv" in text


def test_damaged_runs_are_compared_as_far_as_they_go(make_run: MakeRun) -> None:
    a, b = make_run("a"), make_run("b")
    (b / ".hydra" / "config.yaml").write_text("{")
    text = compare(a, b)
    assert "cannot be compared" in text
    assert "B: .hydra/config.yaml is no YAML" in text
    assert "curves: identical" in text


def test_bad_input(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no folder .*nowhere"):
        compare(make_run("a"), tmp_path / "nowhere")
    with pytest.raises(InputError, match="is no run folder"):
        compare(tmp_path, tmp_path / "a")
