"""What is grouped, averaged, and called best; two runs held against each other."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from imgclf.report.runs import read_runs
from imgclf.report.tables import Table, tables
from imgclf.report.terminal import compare

MakeRun = Callable[..., Path]


def table(folder: Path, sort: str | None = None) -> Table:
    (found,) = tables(read_runs([folder]), sort)
    return found


def column(found: Table, name: str) -> list[str]:
    return found.texts[name].tolist()


def test_runs_that_differ_in_nothing_but_the_seed_are_averaged(make_run: MakeRun, tmp_path: Path) -> None:
    accs = {(0.1, 0): 0.80, (0.1, 1): 0.84, (0.3, 0): 0.90, (0.3, 1): 0.70}
    for i, ((lr, seed), acc) in enumerate(accs.items()):
        settings = {"optimizer.lr": lr, "data.mean": [acc]} | dict.fromkeys(("name", "logger.x.name"), i)  # its own
        make_run(f"s/{i}", settings, seed=seed, acc=acc, overrides=[f"optimizer.lr={lr}"])
    make_run("s/5", {"optimizer.lr": 0.1}, seed=1, acc=0.84)
    found = table(tmp_path / "s")
    # Deviations ±0.02 and ±0.1: sqrt(0.0008) and sqrt(0.02); a seed that ran twice counts once.
    assert column(found, "best/val/acc") == ["0.8200 ± 0.028", "0.8000 ± 0.14"]
    assert (column(found, "lr"), column(found, "seeds"), found.hidden) == (["0.1", "0.3"], ["2", "2"], [])
    assert (column(found, "seconds"), column(found, "images_per_second")) == (["12.0 s"] * 2, ["50,000"] * 2)
    assert column(table(tmp_path / "s" / "2"), "best/val/acc") == ["0.9000"], "one seed has no spread"
    assert column(tables(read_runs([tmp_path / "s" / name for name in "0123"]), None)[0], "seeds") == ["2", "2"]


def test_validation_decides_what_is_best_and_the_test_never(make_run: MakeRun, tmp_path: Path) -> None:
    # Validated best is the second, tested best the first; the fourth is as good, with a higher validation loss.
    values = {1.0: (0.7, 0.99, 0.1), 2.0: (0.9, 0.6, 0.4), 3.0: (0.8, 0.8, 0.2), 4.0: (0.9, 0.9, 0.5)}
    for i, (lr, (best, test, loss)) in enumerate(values.items()):
        metrics = {"best/val/acc": best, "best/val/loss": loss, "val/acc": 1 - best, "test/acc": test}
        make_run(f"s/{i}", {"optimizer.lr": lr}, metrics=metrics)
    assert column(table(tmp_path / "s"), "lr") == ["2.0", "4.0", "3.0", "1.0"]
    for sort in (None, "test/acc", "optimizer.lr", "val/acc"):
        assert table(tmp_path / "s", sort).notes()[-1] == "best: uv run scripts/train.py optimizer.lr=2.0", sort


def test_what_diverged_or_failed_is_marked_and_never_best(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("s/0", {"optimizer.lr": 1.0}, acc=0.99, outcome="diverged")
    make_run("s/1", {"optimizer.lr": 1.0}, acc=0.98, seed=1)
    make_run("s/2", {"optimizer.lr": 0.1}, metrics={"best/val/acc": 0.8, "test/auroc": None})  # of too few images
    make_run("s/3", {"optimizer.lr": 0.1}, acc=0.9, seed=1, outcome="failed")
    found = table(tmp_path / "s")
    assert column(found, "lr") == ["0.1", "1.0"]
    assert column(found, "seeds") == ["1, 1 failed", "1, 1 diverged"]
    assert column(found, "best/val/acc") == ["0.8000", "–"]
    assert table(tmp_path / "s" / "0").best is None


def test_the_settings_shown_tell_runs_apart_and_the_others_are_named(make_run: MakeRun, tmp_path: Path) -> None:
    adam = {"optimizer._target_": "torch.optim.AdamW", "optimizer.betas": [0.9, 0.99], "trainer.max_epochs": 9}
    make_run("s/0", overrides=["optimizer=sgd"])
    make_run("s/1", adam, overrides=["optimizer=adamw"])
    make_run("s/2", {"trainer.max_epochs": 1}, overrides=["optimizer=sgd"])
    found = table(tmp_path / "s")
    assert found.titles == {"optimizer._target_": "optimizer", "trainer.max_epochs": "max_epochs"}
    assert found.hidden == ["optimizer.betas"], "it follows from the optimizer"
    assert sorted(found.labels)[0] == "optimizer=AdamW, max_epochs=9"
    assert "optimizer.betas" in found.notes()[0]


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
        r"val/acc, epoch 1 +0\.266666667 +0\.225",
        r"val/acc, epoch 4 +– +0\.9",
    ):
        assert re.search(rf"^{line}$", text, re.MULTILINE), line
    assert "max_epochs" not in text
