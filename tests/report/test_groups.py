"""Means, spreads, order."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from imgclf.errors import InputError
from imgclf.report.groups import grouped, over_seeds
from imgclf.report.runs import find_runs

MakeRun = Callable[..., Path]


def test_mean_and_sample_standard_deviation() -> None:
    # Deviations -0.02, 0.02: sqrt(0.0008 / 1).
    two = over_seeds([(0, 0.80), (1, 0.84)])
    assert (two.mean, two.spread, two.seeds) == (pytest.approx(0.82), pytest.approx(0.0282842712), 2)
    # Deviations -1, 0, 1: sqrt(2 / 2).
    three = over_seeds([(0, 1.0), (1, 2.0), (2, 3.0)])
    assert (three.mean, three.spread, three.seeds) == (2.0, 1.0, 3)


def test_one_seed_has_no_spread() -> None:
    assert over_seeds([(7, 0.5)]) == over_seeds([(7, 0.4), (7, 0.6)])
    assert over_seeds([(7, 0.5)]).spread is None


def test_a_seed_that_ran_twice_counts_once() -> None:
    summary = over_seeds([(0, 1.0), (0, 3.0), (1, 4.0)])  # 2 and 4
    assert (summary.mean, summary.spread, summary.seeds) == (3.0, pytest.approx(math.sqrt(2)), 2)


def test_what_is_no_number_in_one_run_is_none_on_average() -> None:
    assert math.isnan(over_seeds([(0, 1.0), (1, math.nan)]).mean)


def test_groups_are_runs_that_differ_in_nothing_but_the_seed(make_run: MakeRun, tmp_path: Path) -> None:
    accs = {(0.1, 0): 0.80, (0.1, 1): 0.84, (0.3, 0): 0.90, (0.3, 1): 0.70}
    for i, ((lr, seed), acc) in enumerate(accs.items()):
        make_run(str(i), {"optimizer.lr": lr, "name": f"run {i}"}, seed=seed, acc=acc)
    report = grouped(find_runs([tmp_path]), None)
    assert report.titles == ["lr"]
    assert report.sort == "best/val/acc"
    found = [(g.values, round(g.metrics["test/acc"].mean, 6), g.seeds) for g in report.groups]
    assert found == [(["0.1"], 0.82, 2), (["0.3"], 0.80, 2)]
    assert report.groups[1].metrics["test/acc"].spread == pytest.approx(0.1414213562)
    assert report.groups[0].metrics["seconds"].mean == 12


def test_validation_decides_where_nothing_was_tested(make_run: MakeRun, tmp_path: Path) -> None:
    for i, acc in enumerate((0.2, 0.6, 0.4)):
        make_run(str(i), {"optimizer.lr": i + 1.0}, metrics={"val/acc": acc, "train/acc": 1 - acc})
    report = grouped(find_runs([tmp_path]), None)
    assert report.sort == "val/acc"
    assert [group.values for group in report.groups] == [["2.0"], ["3.0"], ["1.0"]]
    assert report.best is report.groups[0]


def test_validation_decides_what_is_best_and_the_test_never(make_run: MakeRun, tmp_path: Path) -> None:
    # Validated best is the middle one, tested best the first; 4.0 is as good as 2.0, with a higher validation loss.
    found = {1.0: (0.7, 0.99, 0.1), 2.0: (0.9, 0.6, 0.4), 3.0: (0.8, 0.8, 0.2), 4.0: (0.9, 0.9, 0.5)}
    for i, (lr, (best, test, loss)) in enumerate(found.items()):
        metrics = {"best/val/acc": best, "best/val/loss": loss, "val/acc": 1 - best, "test/acc": test}
        make_run(str(i), {"optimizer.lr": lr}, metrics=metrics)
    runs = find_runs([tmp_path])
    assert [group.values[0] for group in grouped(runs, None).groups] == ["2.0", "4.0", "3.0", "1.0"]
    for sort in (None, "test/acc", "lr", "val/acc"):
        best = grouped(runs, sort).best
        assert best is not None
        assert best.values == ["2.0"], sort


def test_where_nothing_was_validated_none_is_best(make_run: MakeRun, tmp_path: Path) -> None:
    for i, acc in enumerate((0.2, 0.6, 0.4)):
        make_run(str(i), {"optimizer.lr": i + 1.0}, metrics={"test/acc": acc, "train/acc": acc})
    report = grouped(find_runs([tmp_path]), None)
    assert (report.sort, report.best) == (None, None)
    assert [group.values for group in report.groups] == [["1.0"], ["2.0"], ["3.0"]], "as they were found"


def test_a_setting_that_diverged_is_not_the_best_for_an_epoch_before(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("0", {"optimizer.lr": 1.0}, acc=0.9, loss=None)
    make_run("1", {"optimizer.lr": 0.1}, acc=0.8)
    report = grouped(find_runs([tmp_path]), None)
    assert [group.values for group in report.groups] == [["0.1"], ["1.0"]]
    assert grouped(find_runs([tmp_path / "0"]), None).best is None


def test_the_order_can_be_chosen(make_run: MakeRun, tmp_path: Path) -> None:
    for i, (lr, loss) in enumerate([(1e-2, 0.3), (1e-1, 0.1), (1.0, None), (10.0, 0.2)]):
        make_run(str(i), {"optimizer.lr": lr}, acc=0.1 * i, loss=loss)
    runs = find_runs([tmp_path])

    def order(sort: str) -> list[str]:
        return [group.values[0] for group in grouped(runs, sort).groups]

    assert order("val/loss") == ["0.1", "10.0", "0.01", "1.0"], "the lowest first, what diverged last"
    assert order("test/acc") == ["10.0", "1.0", "0.1", "0.01"]
    assert order("lr") == order("optimizer.lr") == ["0.01", "0.1", "1.0", "10.0"], "by size, not by letters"
    with pytest.raises(InputError, match=r"sort=tset/acc: .*test/acc.*lr"):
        grouped(runs, "tset/acc")


def test_several_folders_are_compared_one_is_taken_together(make_run: MakeRun, tmp_path: Path) -> None:
    for sweep in ("old", "new"):
        for seed in (0, 1):
            make_run(f"{sweep}/{seed}", seed=seed)
    assert len(grouped(find_runs([tmp_path]), None).groups) == 1
    apart = grouped(find_runs([tmp_path / "old", tmp_path / "new"]), None)
    assert apart.titles == ["sweep"]
    assert [group.values for group in apart.groups] == [["old"], ["new"]]
    assert [group.seeds for group in apart.groups] == [2, 2]
