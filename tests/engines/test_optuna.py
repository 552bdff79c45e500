"""Searches by Optuna: medians over seeds, and going on with a study."""

import json
import sqlite3
from pathlib import Path
from statistics import median

import pytest
from conftest import Door
from engines.conftest import Run, needs

from imgclf.errors import InputError
from imgclf.sweep.search import result, with_seeds

TINY = ("trainer.max_epochs=1", "trainer.limit_train_batches=5", "data.batch_size=100", "sweep.preflight=false")


@pytest.fixture
def optuna() -> None:
    needs("optuna", "hydra_plugins.hydra_optuna_sweeper", extra="optuna")


def values(study: Path) -> list[float]:
    with sqlite3.connect(study) as database:
        return [value for (value,) in database.execute("select value from trial_values order by trial_id")]


def test_a_search_is_told_medians_and_is_gone_on_with(optuna: None, door: Door, tmp_path: Path) -> None:
    ranges = ("optimizer.lr=tag(log,interval(0.001,1))", "model.hidden_sizes=choice('[16]','[16,8]')")
    few = ("hydra.sweeper.n_trials=1", "sweep.seeds=2")
    done = door("train.py", "-m", "search=optuna", *ranges, *TINY, *few, "hydra.sweep.dir=search")
    sweep = tmp_path / "search"
    runs = [Run(sweep / number) for number in "01"]
    assert [run.about()["seed"] for run in runs] == [0, 1]
    told = median(run.metrics()["best/val/acc"] for run in runs)
    assert values(sweep / "study.db") == pytest.approx([told])
    assert f"best trial: best/val/acc {told:.4f} with optimizer.lr=" in done.stdout
    before = {file: file.read_bytes() for number in "01" for file in (sweep / number).rglob("*") if file.is_file()}

    door("train.py", "-m", "sweep.resume=search")
    assert {p.name for p in sweep.iterdir() if p.is_dir() and p.name.isdecimal()} == {"0", "1", "2", "3"}
    assert {file: file.read_bytes() for file in before} == before, "nothing is overwritten"
    added = median(Run(sweep / number).metrics()["best/val/acc"] for number in "23")
    assert values(sweep / "study.db") == pytest.approx([told, added])
    rates = [job["overrides"][0] for job in json.loads((sweep / "sweep.json").read_text())["jobs"]]
    assert rates[0] == rates[1] != rates[2] == rates[3], "it looks elsewhere"


def test_a_search_in_the_wrong_direction_is_refused(optuna: None, door: Door) -> None:
    done = door("train.py", "-m", "hydra/sweeper=optuna", "optimizer.lr=interval(0.1,1)", expect=2)
    assert "choose hydra.sweeper.direction=maximize or minimize" in done.stderr


def test_the_jobs_of_a_trial_differ_in_their_seed_alone() -> None:
    assert with_seeds(["a=1"], seed=5, count=1) == [("a=1",)]
    assert with_seeds(["a=1"], seed=5, count=3) == [("a=1", "seed=5"), ("a=1", "seed=6"), ("a=1", "seed=7")]
    assert with_seeds(["seed=2", "a=1"], seed=5, count=2) == [("a=1", "seed=2"), ("a=1", "seed=3")]


def test_a_trial_counts_by_its_median_and_fails_with_any_of_its_runs() -> None:
    runs = [{"val/acc": value} for value in (0.5, 0.9, 0.6)]
    assert result("val/acc", runs) == 0.6
    assert result("val/acc", runs[:2]) == pytest.approx(0.7)
    assert result("val/acc", [*runs, None]) is None
    assert result("val/acc", [*runs, {"val/acc": None}]) is None, "not a number"
    with pytest.raises(InputError, match=r"sweep.objective=val/ac is not among a run's metrics: val/acc"):
        result("val/ac", runs)
