"""Two runs held against each other."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from imgclf.report.terminal import compare

MakeRun = Callable[..., Path]


def test_a_run_is_identical_to_its_repetition(make_run: MakeRun) -> None:
    a, b = make_run("a"), make_run("b", start="2027-01-01T00:00:00+00:00")
    slower = json.loads((b / "metrics.json").read_text()) | {"seconds": 99.0}
    (b / "metrics.json").write_text(json.dumps(slower))
    assert compare(a, b).count(": identical") == 4
    assert re.search(r"^seconds +12 +99$", compare(a, b), re.MULTILINE)
    diverged = make_run("c", outcome="diverged")
    assert compare(diverged, diverged).count(": identical") == 5, "not a number is not a number in both"


def test_all_differences_are_named(make_run: MakeRun) -> None:
    settings = {"optimizer.lr": 0.3, "model.hidden_sizes": [16, 8], "model.width": 2}
    b = make_run("b", settings, seed=1, acc=0.9, host="there", versions={"torch": "2.16.0"}, epochs=4)
    text = compare(make_run("a", acc=0.8), b)
    for line in (
        r"seed +0 +1",
        r"optimizer\.lr +0\.1 +0\.3",
        r"model\.hidden_sizes +\[256\] +\[16, 8\]",
        r"model\.width +– +2",
        r"host +here +there",
        r"versions\.torch +– +2\.16\.0",
        r"test/acc +0\.8 +0\.9",
        r"val/acc, epoch 1 +0\.266667 +0\.225",
        r"val/acc, epoch 4 +– +0\.9",
    ):
        assert re.search(rf"^{line}$", text, re.MULTILINE), line
    assert "max_epochs" not in text
