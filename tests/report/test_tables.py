"""What is grouped, averaged, and called best."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imgclf.errors import InputError
from imgclf.report.runs import read_runs
from imgclf.report.tables import Table, shown, tables

MakeRun = Callable[..., Path]


def table(folder: Path, sort: str | None = None) -> Table:
    (found,) = tables(read_runs([folder]), sort)
    return found


def column(found: Table, name: str) -> list[str]:
    return found.texts[name].tolist()


def test_runs_that_differ_in_nothing_but_the_seed_are_averaged(make_run: MakeRun, tmp_path: Path) -> None:
    accs = {(0.1, 0): 0.80, (0.1, 1): 0.84, (0.3, 0): 0.90, (0.3, 1): 0.70}
    for i, ((lr, seed), acc) in enumerate(accs.items()):
        make_run(f"s/{i}", {"optimizer.lr": lr, "name": f"run {i}"}, seed=seed, acc=acc)
    make_run("s/5", {"optimizer.lr": 0.1}, seed=1, acc=0.84)
    found = table(tmp_path / "s")
    # Deviations ±0.02 and ±0.1: sqrt(0.0008) and sqrt(0.02); a seed that ran twice counts once.
    assert column(found, "best/val/acc") == ["0.8200 ± 0.028", "0.8000 ± 0.14"]
    assert (column(found, "lr"), column(found, "seeds"), found.hidden) == (["0.1", "0.3"], ["2", "2"], [])
    assert (column(found, "seconds"), column(found, "images_per_second")) == (["12.0 s"] * 2, ["50,000"] * 2)
    assert column(table(tmp_path / "s" / "2"), "best/val/acc") == ["0.9000"], "one seed has no spread"


def test_validation_decides_what_is_best_and_the_test_never(make_run: MakeRun, tmp_path: Path) -> None:
    # Validated best is the second, tested best the first; the fourth is as good, with a higher validation loss.
    values = {1.0: (0.7, 0.99, 0.1), 2.0: (0.9, 0.6, 0.4), 3.0: (0.8, 0.8, 0.2), 4.0: (0.9, 0.9, 0.5)}
    for i, (lr, (best, test, loss)) in enumerate(values.items()):
        metrics = {"best/val/acc": best, "best/val/loss": loss, "val/acc": 1 - best, "test/acc": test}
        make_run(f"s/{i}", {"optimizer.lr": lr}, metrics=metrics)
    assert column(table(tmp_path / "s"), "lr") == ["2.0", "4.0", "3.0", "1.0"]
    for sort in (None, "test/acc", "optimizer.lr", "val/acc"):
        assert table(tmp_path / "s", sort).notes()[-1] == "best: uv run scripts/train.py optimizer.lr=2.0", sort


def test_where_nothing_was_validated_none_is_best(make_run: MakeRun, tmp_path: Path) -> None:
    for i, acc in enumerate((0.2, 0.6, 0.4)):
        make_run(f"s/{i}", {"optimizer.lr": i + 1.0}, metrics={"test/acc": acc})
    found = table(tmp_path / "s")
    assert (found.sort, found.best, column(found, "lr")) == (None, None, ["1.0", "2.0", "3.0"])
    assert found.notes() == ["note: nothing was validated, so none is called best"]


def test_what_diverged_or_failed_is_marked_and_never_best(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("s/0", {"optimizer.lr": 1.0}, acc=0.99, outcome="diverged")
    make_run("s/1", {"optimizer.lr": 1.0}, acc=0.98, seed=1)
    make_run("s/2", {"optimizer.lr": 0.1}, acc=0.8)
    make_run("s/3", {"optimizer.lr": 0.1}, acc=0.9, seed=1, outcome="failed")
    make_run("s/4", {"optimizer.lr": 0.01}, acc=0.9, outcome="interrupted")
    found = table(tmp_path / "s")
    assert column(found, "lr") == ["0.1", "1.0", "0.01"]
    assert column(found, "seeds") == ["1, 1 failed", "1, 1 diverged", "0, 1 interrupted"]
    assert column(found, "best/val/acc") == ["0.8000", "–", "–"]
    assert table(tmp_path / "s" / "0").best is None


def test_the_order_can_be_chosen(make_run: MakeRun, tmp_path: Path) -> None:
    for i, (lr, loss) in enumerate([(1e-2, 0.3), (1e-1, 0.1), (1.0, None), (10.0, 0.2)]):
        metrics = {"val/loss": loss, "test/acc": i / 10, "val/error": loss}
        make_run(f"s/{i}", {"optimizer.lr": lr}, metrics=metrics)
    order = {sort: column(table(tmp_path / "s", sort), "lr") for sort in ("val/loss", "val/error", "test/acc")}
    assert order["val/loss"] == order["val/error"] == ["0.1", "10.0", "0.01", "1.0"], "the smallest first, none last"
    assert order["test/acc"] == ["10.0", "0.1", "0.01", "1.0"], "what diverged last"
    assert column(table(tmp_path / "s", "optimizer.lr"), "lr") == ["0.01", "0.1", "1.0", "10.0"], "by size"
    with pytest.raises(InputError, match=r"sort=acc: .*val/loss.*optimizer\.lr"):
        table(tmp_path / "s", "acc")


def test_data_sets_have_tables_of_their_own(make_run: MakeRun, tmp_path: Path) -> None:
    for i, folder in enumerate(("roses", "tulips", "tulips")):
        make_run(f"s/{i}", {"data._target_": "imgclf.data.Photos", "data.dir": folder, "optimizer.lr": i + 1.0})
    found = tables(read_runs([tmp_path]), None)
    assert [t.head().partition(":")[0] for t in found] == ["Photos roses", "Photos tulips"]
    assert [list(t.titles) for t in found] == [[], ["optimizer.lr"]]


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


def test_values_of_different_types_differ_and_numbers_can_be_read(make_run: MakeRun, tmp_path: Path) -> None:
    for i, value in enumerate([1, 1.0, True, "1", [1], [1.0], None, "null"]):
        make_run(f"s/{i}", {"trainer.limit": value})
    assert len(table(tmp_path / "s").texts) == 8
    for text, short in {"0.012345678901234": "0.01235", "1.2345678e-05": "1.235e-05", "1024": "1024"}.items():
        assert shown(text) == short
    assert [shown(3725.0, "seconds"), shown(1234567.0), shown(0.1234567, "val/acc")] == [
        "1:02:05",
        "1,234,567",
        "0.1235",
    ]
