"""What is typed behind a script: paths, flags, help; and mistakes, which are told at once."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from refused import run_here

import imgclf.cli  # noqa: F401 -- its resolvers, before Hydra's state is first put back

QUICK = "debug=fast test=false logger=none model.hidden_sizes=[8]"
ODD = "a run, [x] {y} it's \\ 'z' ü=1"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("optimizer.lrr=1", "optimizer.lrr: .*Did you mean optimizer.lr?"),
        ("optimizr=adamw", "optimizr: .*Did you mean optimizer?"),
        ("optimizer=adamv", "optimizer=adamv: .*Did you mean optimizer=adamw?"),
        ("sede=3", "sede: .*Did you mean seed?"),
        ("~callbacks.progres", "callbacks.progres: .*Did you mean callbacks.progress?"),
        ("-m seed=0,1 modle.dropout=1", "modle.dropout: .*Did you mean model.dropout?"),
    ],
)
def test_a_slip_is_answered_before_torch_is_loaded(arguments: str, said: str, root: Path) -> None:
    code = f"""
import sys
sys.argv = ["train.py", *{shlex.split(arguments)!r}]
from imgclf.cli import main, train
try:
    main(train)
finally:
    assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(f"error: {said}.*\n", done.stderr), done.stderr


def test_a_path_needs_no_quotes_but_the_shells(here: Path) -> None:
    assert run_here(f"train.py {QUICK} hydra.run.dir=run").code == 0
    (here / "run").rename(here / ODD)
    for command in (
        f"evaluate.py {shlex.quote(f'run={ODD}')}",
        f"train.py {shlex.quote(f'resume={ODD}')} trainer.max_epochs=2",
        f"train.py {shlex.quote(f'rerun={ODD}')} hydra.run.dir=again",
    ):
        answer = run_here(command)
        assert answer.code == 0, answer.err
    assert json.loads((here / ODD / "metrics.json").read_text())["epochs"] == 2
    assert not (here / "logs").exists()


def test_a_sweep_remembers_its_flags_and_its_folder_may_have_any_name(here: Path) -> None:
    (here / "own" / "model").mkdir(parents=True)
    (here / "own" / "model" / "tiny.yaml").write_text("defaults: [mlp]\nhidden_sizes: [4]\n")
    begun = run_here("train.py seed=0,1 debug=fast test=false model=tiny hydra.sweep.dir=sweep -m -cd own")
    assert begun.code == 0, begun.err
    arguments = json.loads((here / "sweep" / "sweep.json").read_text())["arguments"]
    assert arguments[arguments.index("-cd") + 1] == "own"
    (here / "sweep" / "seed@1" / "metrics.json").unlink()
    (here / "sweep").rename(here / ODD)
    again = run_here(f"train.py -m {shlex.quote(f'sweep.resume={ODD}')}")
    assert again.code == 0, again.err
    assert (here / ODD / "seed@1" / "metrics.json").exists()
    assert sorted(p.name for p in here.iterdir()) == sorted([ODD, "own"])


@pytest.mark.parametrize("script", ["train", "evaluate", "predict", "figures", "report"])
def test_help_is_shown_whatever_is_missing(script: str) -> None:
    answer = run_here(f"{script}.py --help")
    assert answer.code == 0, answer.err
    assert f"uv run scripts/{script}.py" in answer.out
    assert "$" not in answer.out, "a placeholder that Hydra left"
    assert "Examples:" in answer.out
    assert not answer.err


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ("--cfg job", r"^  lr: 0\.3$"),
        ("-c job --package optimizer", r"^lr: 0\.3$"),
        ("-c job --resolve", r"^name: mlp_fashion_mnist_mini$"),
        ("--info defaults", "optimizer"),
        ("--version", "Hydra"),
    ],
)
def test_hydras_flags_may_stand_behind_the_arguments(flags: str, shown: str, here: Path) -> None:
    answer = run_here(f"train.py optimizer.lr=0.3 {flags}")
    assert answer.code == 0, answer.err
    assert re.search(shown, answer.out, re.MULTILINE), answer.out
    assert list(here.iterdir()) == []
