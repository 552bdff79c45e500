"""Searches by Optuna: medians over seeds, going on with one, trials that fail."""

import re
from pathlib import Path
from statistics import median

import pytest
from conftest import Door
from run_files import jobs, metrics, run_json, snapshot

TINY = ("trainer.max_epochs=1", "trainer.limit_train_batches=2", "logger=none", "sweep.preflight=false")


@pytest.fixture(autouse=True)
def _optuna() -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="uv run --extra optuna pytest")


def search(*arguments: str) -> tuple[str, ...]:
    return ("train.py", "-m", "search=optuna", *TINY, "sweep.report=false", *arguments, "hydra.sweep.dir=search")


def test_a_search_is_told_medians_and_is_gone_on_with(door: Door, tmp_path: Path) -> None:
    rates = "optimizer.lr=tag(log,interval(0.001,1))"
    done = door(*search(rates, "hydra.sweeper.n_trials=2", "sweep.seeds=3"))
    sweep, told = tmp_path / "search", []
    trials = jobs(sweep)
    assert len(trials) == 2
    for trial in trials:
        runs = [sweep / trial / f"seed@{seed}" for seed in (0, 1, 2)]
        assert [run_json(run)["seed"] for run in runs] == [0, 1, 2]
        assert "seed=1" in (runs[1] / ".hydra" / "overrides.yaml").read_text()
        assert "test/acc" not in metrics(runs[0]), "test images are not for choosing by"
        told.append(median(metrics(run)["best/val/acc"] for run in runs))
    assert f"best trial: best/val/acc {max(told):.4f} with optimizer.lr=" in done.stdout

    # The same trials are proposed again, those done are not trained again, and the third follows from them.
    before = {trial: snapshot(sweep / trial) for trial in trials}
    done = door("train.py", "-m", "sweep.resume=search", "hydra.sweeper.n_trials=3")
    assert {trial: snapshot(sweep / trial) for trial in trials} == before
    assert len(jobs(sweep)) == 3
    assert "9 of 9 jobs finished" in done.stdout
    told = door("train.py", "-m", "sweep.resume=search", "trainer.limit_train_batches=3", expect=2).stderr
    assert "trainer.limit_train_batches was 2, is 3" in told


def test_a_trial_that_diverged_has_failed_and_the_search_goes_on(door: Door, tmp_path: Path) -> None:
    done = door(*search("optimizer.lr=choice(1e30,0.1)", "hydra.sweeper.n_trials=5"))
    outcomes = {run_json(tmp_path / "search" / job)["outcome"] for job in jobs(tmp_path / "search")}
    assert outcomes == {"diverged", "finished"}
    assert re.search(r"best trial: .*with optimizer\.lr=0\.1", done.stdout)
    before = snapshot(tmp_path / "search")
    door("train.py", "-m", "sweep.resume=search")
    changed = {file for file, state in snapshot(tmp_path / "search").items() if before.get(file) != state}
    assert not [file for file in changed if "optimizer.lr@" in file], "what diverged is done, too"


@pytest.mark.slow
def test_other_samplers_can_be_chosen_and_draw_by_the_seed(door: Door, tmp_path: Path) -> None:
    door(*search("optimizer.lr=choice(0.05,0.1)", "hydra/sweeper/sampler=grid"), "hydra.sweep.dir=grid")
    assert jobs(tmp_path / "grid") == {"optimizer.lr@0.05", "optimizer.lr@0.1"}
    given = ("optimizer.lr=interval(0.01,0.1)", "hydra/sweeper/sampler=random", "hydra.sweeper.n_trials=2")
    for folder, seed in (("first", 0), ("again", 0), ("other", 1)):
        door(*search(*given), f"hydra.sweep.dir={folder}", f"seed={seed}")
    assert jobs(tmp_path / "first") == jobs(tmp_path / "again") != jobs(tmp_path / "other")


def test_a_search_without_a_result_says_so(door: Door) -> None:
    given = ("optimizer.lr=interval(1,2)", "hydra.sweeper.n_trials=2")
    told = door(*search(*given, "sweep.objective=best/val/loss"), expect=2).stderr
    assert "hydra.sweeper.direction=minimize" in told
    told = door(*search(*given, "sweep.objective=best/val/nothing"), expect=2).stderr
    assert told.count("sweep.objective=best/val/nothing") == 1, "it ends with the first trial"
    told = door(*search("optimizer.lr=choice(1e30,1e31)", *given[1:]), "hydra.sweep.dir=lost", expect=1).stderr
    assert told.count("the search has no best trial") == 1
    assert "Traceback" not in told
