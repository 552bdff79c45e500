"""A wrong command line is answered in the user's own words, with the nearest right thing."""

import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime
from hydra.version import VersionBase
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from imgclf.config.suggest import explain, nearest


def answer(conf: Path, overrides: list[str], name: str = "train") -> str | None:
    """What explain says to the error that Hydra raises on these overrides; fails if it raises none."""
    with initialize_config_dir(str(conf), version_base="1.3"), pytest.raises(Exception) as caught:  # noqa: PT011
        compose(name, overrides)
    assert isinstance(caught.value, Exception)
    return explain(caught.value, overrides, conf, name)


WRONG: list[tuple[str, list[str]]] = [
    # keys
    ("modle=mlp", ["There is no key or group 'modle'.", "Did you mean 'model'?"]),
    ("sed=1", ["'sed'", "Did you mean 'seed'?"]),
    ("optimizer.lrr=1", ["'optimizer.lrr'", "Did you mean 'optimizer.lr'?"]),
    ("optimzer.lr=1", ["'optimzer.lr'", "Did you mean 'optimizer.lr'?"]),
    ("trainer.max_epoch=1", ["'trainer.max_epoch'", "Did you mean 'trainer.max_epochs'?"]),
    ("batch_size=64", ["'batch_size'", "Did you mean 'data.batch_size'?"]),
    ("batchsize=64", ["'batchsize'", "Did you mean 'data.batch_size'?"]),
    ("trainer.batch_size=64", ["'trainer.batch_size'", "Did you mean 'data.batch_size'?"]),
    ("optimizer.momentum=0.9", ["'optimizer.momentum'", "'+optimizer.momentum=...'"]),
    ("optimizer.momentun=0.9", ["'optimizer.momentun'", "Did you mean '+optimizer.momentum'?"]),
    ("seed.x=1", ["'seed.x'", "Did you mean 'seed'?"]),
    ("optimizer.lr.x=1", ["'optimizer.lr.x'", "Did you mean 'optimizer.lr'?"]),
    ("qwertz=1", ["'qwertz'", "has: data, model, name", "'+qwertz=...'"]),
    ("optimizer.qwertz=1", ["'optimizer' has: ", "lr"]),
    ("model.mlp=1", ["Did you mean 'model=mlp'?"]),
    ("data/batch_size=1", ["Did you mean 'data.batch_size'?", "slash"]),
    ("model@net=mlp", ["model@net=mlp", "Did you mean 'model'?"]),
    ("hydra.run.dirr=x", ["Did you mean 'hydra.run.dir'?"]),
    ("hydra/launchr=x", ["Did you mean 'hydra/launcher'?"]),
    ("hydra.job.chdir=hello", ["hydra.job.chdir=hello", "bool"]),
    # choices
    (
        "model=mpl",
        ["model=mpl: there is no such choice.", "Did you mean 'mlp'? Choices: googlenet, lenet, mlp"],
    ),
    ("model=", ["model=: there is no such choice", "Choices: googlenet, lenet, mlp"]),
    ("model=null", ["model=null", "~model", "Choices: googlenet"]),
    ("model=5", ["model=5: there is no such choice", "Choices: googlenet"]),
    ("data=[fashion,cifar]", ["data=[fashion,cifar]", "no choice 'cifar'", "Choices: fashion"]),
    ("experiment=gud", ["experiment=gud", "Choices: a_list"]),
    ("hydra/launcher=foo", ["hydra/launcher=foo", "Choices: basic", "plugin"]),
    ("+model=x", ["+model=x: there is no such choice", "Choices: googlenet, lenet, mlp"]),
    ("+model=lenet", ["+model=lenet", "in use already", "Leave the + away: model=lenet"]),
    ("++model=lenet", ["++model=lenet", "Write model=lenet"]),
    # plus and tilde
    ("+seed=1", ["+seed=1", "there already", "Leave the + away: seed=1"]),
    ("~modle", ["~modle", "Did you mean 'model'?"]),
    ("~qwertz", ["~qwertz", "to remove", "The configuration has"]),
    ("~seed=4", ["~seed=4", "is 0", "~seed"]),
    ("~model=lenet", ["~model=lenet", "~model"]),
    # grammar
    ("model", ["model: a value is missing", "Choices: googlenet, lenet, mlp"]),
    ("mlp", ["mlp: a value is missing", "Did you mean 'model=mlp'?"]),
    ("seed", ["seed: a value is missing", "seed=0"]),
    ("sede", ["sede: a value is missing", "Did you mean 'seed'?"]),
    ("seed:1", ["seed:1", "Write KEY=VALUE: seed=1"]),
    ("seed==1", ["seed==1", "Write seed=1"]),
    ("a b=1", ["a b=1", "'a b' cannot be a key"]),
    ("seed = 3", ["'seed ' cannot be a key", "without blanks: seed=3"]),
    ("hydra.sweeper.params.seed='3,4'", ["what an experiment's file sweeps over", "Write -m seed=3,4"]),
    ("+hydra.sweeper.params={seed: '3,4'}", ["what an experiment's file sweeps over", "Write -m seed=0,1,2"]),
    ("=1", ["=1: the key is missing"]),
    ("model.hidden=[1,2", ["model.hidden=[1,2: the '[' is not closed", "'model.hidden=[1,2]'"]),
    ("seed=1]", ["seed=1]: the ']' closes nothing", "'seed=1'"]),
    ("seed={a:1", ["seed={a:1", "'{' is not closed"]),
    ("seed=range(1", ["seed=range(1", "'(' is not closed"]),
    ("data.root='a", ["data.root='a", "is not closed"]),
    ("data.root=a=b", ["data.root=a=b", "'data.root=\"a=b\"'"]),
    ("model=choise(mlp,lenet)", ["no sweep function 'choise'", "Did you mean 'choice(...)'?"]),
    # sweeps in a single run
    ("seed=1,2", ["seed=1,2: several values", "add -m", "'seed=[1,2]'"]),
    ("model=mlp,lenet", ["model=mlp,lenet: several values", "add -m"]),
    ("seed=choice(1,2)", ["seed=choice(1,2)", "Add -m"]),
    # files
    ("experiment=bad_choice", ["experiment/bad_choice.yaml", "'model: lenett'", "Did you mean 'lenet'?"]),
    ("experiment=bad_group", ["experiment/bad_group.yaml", "'modle'", "Did you mean '/model'?"]),
    ("experiment=no_slash", ["experiment/no_slash.yaml", "'override /model: ...'"]),
    ("experiment=no_override", ["experiment/no_override.yaml", "'model' is chosen twice", "override /model"]),
    ("experiment=bad_yaml", ["experiment/bad_yaml.yaml, line 3"]),
    ("experiment=twice", ["experiment/twice.yaml, line 3", "'seed' stands there twice"]),
    ("experiment=a_list", ["experiment/a_list.yaml", "Mend that file"]),
]


@pytest.mark.parametrize(("override", "parts"), WRONG, ids=[override for override, _ in WRONG])
def test_a_wrong_argument_is_answered(conf: Path, override: str, parts: list[str]) -> None:
    said = answer(conf, [override])
    assert said is not None
    for part in parts:
        assert part in said
    assert len(said.splitlines()) == 2


def test_other_wrong_arguments_do_not_hide_the_answer(conf: Path) -> None:
    said = answer(conf, ["experiment=good", "optimizer.lrr=1", "modle=3"])
    assert said is not None
    assert "Did you mean 'optimizer.lr'?" in said


def test_keys_are_those_of_the_chosen_files(conf: Path) -> None:
    # `leaf` exists in model=lenet only, which the experiment chooses.
    said = answer(conf, ["experiment=good", "model.leaf.dep=1"])
    assert said is not None
    assert "Did you mean 'model.leaf.deep'?" in said


@pytest.mark.parametrize("sweep", ["seed=1,2", "optimizer.lr=interval(0,1)", "seed=range(3)", "seed=choice(1,2)"])
def test_sweeps_beside_it_do_not_hide_the_answer(conf: Path, sweep: str) -> None:
    with initialize_config_dir(str(conf), version_base="1.3"), pytest.raises(Exception) as caught:  # noqa: PT011
        compose("train", ["experiment=good", "model.leaf.dep=1"])
    assert isinstance(caught.value, Exception)
    arguments = ["-m", "experiment=good,twice", sweep, "model.leaf.dep=1"]
    said = explain(caught.value, arguments, conf, "train")
    assert said is not None
    assert "Did you mean 'model.leaf.deep'?" in said


def test_a_wrong_primary_config_is_answered(conf: Path) -> None:
    said = answer(conf, [], name="trian")
    assert said is not None
    assert "no configuration 'trian'" in said
    assert "Did you mean 'train'?" in said


def test_errors_of_other_kinds_are_left_to_others(conf: Path) -> None:
    for error in (ValueError("In 'x': y"), RuntimeError("Could not override 'a'."), KeyError("seed")):
        assert explain(error, ["seed=1"], conf, "train") is None


def test_hydra_is_left_as_it_was_found(conf: Path) -> None:
    said = answer(conf, ["optimizer.lrr=1"])
    assert said is not None
    assert not GlobalHydra.instance().is_initialized()
    with initialize_config_dir(str(conf), job_name="mine", version_base="1.2"):
        instance, hydra = GlobalHydra.instance(), GlobalHydra.instance().hydra
        with pytest.raises(Exception) as caught:  # noqa: PT011
            compose("train", ["modle=mlp"])
        assert isinstance(caught.value, Exception)
        assert explain(caught.value, ["modle=mlp"], conf, "train") is not None
        assert GlobalHydra.instance() is instance
        assert instance.hydra is hydra
        assert JobRuntime.instance().get("name") == "mine"
        assert str(VersionBase.instance().getbase()) == "1.2"
        assert not HydraConfig.initialized()
        assert compose("train", ["seed=7"]).seed == 7


KEYS = [
    "seed",
    "name",
    "data.batch_size",
    "data.root",
    "optimizer.lr",
    "trainer.max_epochs",
    "model.activation",
]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(KEYS), at=st.integers(0, 30), letter=st.sampled_from("abdeinrstx_"))
def test_any_slip_of_a_key_is_answered_with_that_key_named(conf: Path, key: str, at: int, letter: str) -> None:
    at %= len(key)
    typed = key[:at] + letter + key[at:]
    assume(not typed.startswith("_"))
    said = answer(conf, [f"{typed}=1"])
    assert said is not None
    assert f"'{typed}'" in said
    assert f"Did you mean '{key}'?" in said


@pytest.mark.parametrize(
    ("word", "candidates", "expected"),
    [
        ("mpl", ["mlp", "lenet"], "mlp"),
        ("LeNet", ["mlp", "lenet"], "lenet"),
        ("zzz", ["mlp"], None),
        ("x", [], None),
    ],
)
def test_nearest(word: str, candidates: list[str], expected: str | None) -> None:
    assert nearest(word, candidates) == expected


DOOR = """
import os, sys
from pathlib import Path
os.environ["HYDRA_FULL_ERROR"] = "1"
import hydra
from imgclf.config.suggest import explain

@hydra.main(config_path={conf!r}, config_name="train", version_base="1.3")
def main(cfg):
    print("ran", cfg.seed)

for arguments in {runs!r}:
    sys.argv = ["door.py", *arguments, "hydra.run.dir={out}/run", "hydra.sweep.dir={out}/sweep"]
    try:
        main()
    except Exception as error:
        print("<<", explain(error, sys.argv[1:], Path({conf!r}), "train"), ">>")
assert "torch" not in sys.modules
"""


def test_a_door_answers_alike_in_single_runs_and_sweeps(conf: Path, tmp_path: Path) -> None:
    runs = [
        (["modle=mlp"], "Did you mean 'model'?"),
        (["-m", "modle=mlp,lenet"], "Did you mean 'model'?"),
        (["-m", "seed=1,2", "optimizer.lrr=1,2"], "Did you mean 'optimizer.lr'?"),
        (["--multirun", "model=mlp,mpl"], "model=mlp,mpl: there is no choice 'mpl'.\nDid you mean 'mlp'?"),
        (["-m", "model=choice(mlp,mpl)"], "there is no choice 'mpl'.\nDid you mean 'mlp'?"),
        (["-m", "+seed=1,2"], "Leave the + away: seed=1,2"),
        (["-m", "model.hidden=[1,2"], "is not closed"),
        (["-m", "batch_size=32,64"], "Did you mean 'data.batch_size'?"),
        (["-m", "experiment=good,bad_choice"], "bad_choice.yaml"),
        (["-m", "hydra.sweep.subdir=a,b"], "keys of hydra cannot be swept"),
        (["-m", "optimizer.lr=interval(0,1)"], "no points of its own"),
        (["--config-name", "trian"], "Did you mean 'train'?"),
        (["~seed"], "the program needs 'seed'"),
        (["name=${nam}", "+x=${name}"], "ran 0"),
    ]
    script = tmp_path / "door.py"
    script.write_text(DOOR.format(conf=str(conf), runs=[arguments for arguments, _ in runs], out=tmp_path))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    said = [part.partition(">>")[0].strip() for part in done.stdout.split("<<")[1:]]
    assert len(said) == len(runs) - 1
    for text, (_, expected) in zip(said, runs, strict=False):
        assert expected in text
    assert "ran 0" in done.stdout
