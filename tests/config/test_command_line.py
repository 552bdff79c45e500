"""What is typed behind a script: paths, flags, help; and mistakes, which are told at once."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import Door, Refused
from run_files import metrics

QUICK = "logger=none test=false debug=fast"
ODD = "a run, [x] {y} it's \\ 'z' ü=1"


def test_a_slip_is_answered_before_torch_is_loaded(root: Path, tmp_path: Path) -> None:
    slips = {
        "optimizer.lrr=1": "optimizer.lr?",
        "optimizr=adamw": "optimizer?",
        "optimizer=adamv": "optimizer=adamw?",
        "~callbacks.progres": "callbacks.progress?",
        "-m seed=0,1 modle.dropout=1": "model.dropout?",
    }
    code = f"""
import runpy, sys
for arguments in {[shlex.split(slip) for slip in (*slips, "--help", "--cfg job")]}:
    sys.argv = [{str(root / "scripts" / "train.py")!r}, *arguments]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        print("exit code", end.code, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    codes = ["exit code 2 False"] * len(slips) + ["exit code 0 False"] * 2
    assert re.findall(r"^exit code .*$", done.stdout, re.MULTILINE) == codes
    for line, (slip, right) in zip(done.stderr.splitlines(), slips.items(), strict=True):
        key = slip.split()[-1].partition("=")[0].lstrip("~")
        assert re.fullmatch(rf"error: {re.escape(key)}.*Did you mean {re.escape(right)}.*", line)


# Each kind of mistake once, by what it has to name. Ranges of constructors are tested with their classes.
REFUSED: list[tuple[str, ...]] = [
    # values, of which all that are wrong are told together
    ("data.batch_size=1.5 optimizer.lr=1e-3x", "data.batch_size=1.5: ", "integer", "optimizer.lr=1e-3x: ", "number"),
    ("data.fit_on=all data.mean=[nan] seed=-1", "data.fit_on=all", "'train_valid'", "data.mean[0]=nan", "seed=-1"),
    ("test=1 name=null sweep.on_error=ignore", "test=1", "name=null", "sweep.on_error=ignore", "'stop'"),
    ("+sede=3 +ckpt_path=/x", "sede=3", "seed?", "ckpt_path=/x"),
    ("+model.optimizer=3 +trainer.logger=true", "model.optimizer", "trainer.logger"),
    ("seed=4294967296", "seed=4294967296"),
    ("optimizer.lr=-1", "optimizer", "-1"),
    ("model.dropout=1", "model.dropout=1", "less than 1"),
    ("model.hidden_sizes=[10000000000]", "out of memory"),
    ("trainer.max_epochs=null", "trainer.max_epochs=null"),
    ("trainer.accumulate_grad_batches=0", "accumulate_grad_batches=0"),
    ("trainer.limit_train_batches=0", "limit_train_batches=0"),
    ("trainer.limit_train_batches=0.001", "limit_train_batches"),
    ("callbacks.checkpoint.every_n_epochs=0", "callbacks.checkpoint.every_n_epochs=0", "equal to 1"),
    # what does not go together
    ("data.batch_size=100000", "data.batch_size=100000", "9000"),
    ("data.num_classes=5", "data.num_classes=5", "label 9"),
    ("data.in_channels=2", "data.in_channels=2", "1 channel"),
    ("model.image_size=10", "data.resize=28", "10"),
    ("callbacks.checkpoint.monitor=val/accuracy", "val/accuracy", "val/acc"),
    ("callbacks=early_stopping retrain_on_all=true", "validated"),
    ("trainer.devices=two", "trainer.devices=two"),
    ("trainer.strategy=dpp", "dpp"),
    ("trainer=cpu trainer.precision=16-mixed", "trainer.precision=16-mixed", "bf16-mixed"),
    ("trainer=gpu", "gpu") if not torch.cuda.is_available() else ("trainer=ddp trainer.devices=99", "99", "GPU"),
    # command lines
    ("~model", "model: "),
    ("model=null", "model=null", "lenet"),
    ("'data={a:1}'", "data={a:1}"),
    ("callbacks=ema +callbacks=early_stopping", "callbacks=[ema,early_stopping]"),
    ("+callbacks.x=3", "callbacks.x._target_="),
    ("+callbacks.x._target_=os.nope", "callbacks.x._target_=os.nope"),
    ("optimizer.lr=0.1,0.2", "optimizer.lr=0.1,0.2", "--multirun"),
    ("model.hidden_sizes=[256", "model.hidden_sizes=[256", "KEY=VALUE"),
    ("+data.class_names=[Hund,Kätzchen]", "data.class_names=[Hund,Kätzchen]", "['A','B']"),
    ("data.batch_size", "data.batch_size", "KEY=VALUE"),
    ("name='${nope}'", "'nope'"),
    ("'model.dropout=${nope}'", "model.dropout", "'nope'"),
    ("--config-name nope", "nope"),
    ("hydra.run.dir=", "hydra.run.dir="),
    ("hydra.run.dir=/proc/nope", "/proc/nope"),
    ("hydra.run.dir=null", "hydra.run.dir=null"),
    ("hydra.run.dir=file", "file: "),
    ("-m seed=0,1 hydra.sweep.dir=file", "file: "),
    ("resume=nope", "nope"),
    ("-m resume=x", "resume=x", "-m"),
    ("resume=x hydra.run.dir=y", "resume=x", "hydra.run.dir="),
    ("resume=x rerun=y", "rerun="),
    ("sweep.resume=x", "-m"),
    ("-m sweep.resume=x", "x", "sweep.json"),
]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
def test_what_training_cannot_do(row: tuple[str, ...], refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    refused(f"train.py {QUICK} {row[0]}", *row[1:])


def test_what_was_refused_can_be_said_again_rightly_and_a_path_needs_no_quotes(door: Door, tmp_path: Path) -> None:
    wrong = ("train.py", *QUICK.split(), "hydra.run.dir=run", "model.dropout=2")
    told = door(*wrong, expect=2, IMGCLF_TRACEBACK="1").stderr
    assert "Traceback" in told
    assert told.count("error: ") == 1
    door(*wrong, "model.dropout=0.2")
    (tmp_path / "run").rename(tmp_path / ODD)
    door("evaluate.py", f"run={ODD}")
    door("train.py", f"resume={ODD}", "trainer.max_epochs=2")
    assert metrics(tmp_path / ODD)["epochs"] == 2
    door("train.py", f"rerun={ODD}", "hydra.run.dir=again")
    assert not (tmp_path / "logs").exists()


def test_a_sweep_remembers_its_flags_and_its_folder_may_have_any_name(door: Door, tmp_path: Path) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "tiny.yaml").write_text("defaults: [mlp]\nhidden_sizes: [4]\n")
    door("train.py", *f"seed=0,1 {QUICK} model=tiny sweep.report=false hydra.sweep.dir=sweep -m -cd own".split())
    arguments = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["arguments"]
    assert arguments[arguments.index("-cd") + 1] == "own"
    (tmp_path / "sweep" / "seed@1" / "metrics.json").unlink()
    (tmp_path / "sweep").rename(tmp_path / ODD)
    door("train.py", "-m", f"sweep.resume={ODD}")
    assert (tmp_path / ODD / "seed@1" / "metrics.json").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([ODD, "own"])


SCRIPTS = ("evaluate", "predict", "figures", "report", "prepare_kaggle")


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("train.py --help", r"^model: .*lenet"),
        *((f"{script}.py --help", rf"uv run scripts/{script}\.py") for script in SCRIPTS),
        ("train.py optimizer.lr=0.3 --cfg job", r"^  lr: 0\.3$"),
        ("train.py optimizer.lr=0.3 -c job --package optimizer", r"^lr: 0\.3$"),
        ("train.py test=false -c job --resolve", r"^name: mlp_fashion_mnist_mini$"),
        ("train.py test=false --info defaults", "optimizer"),
        ("train.py test=false --version", "Hydra"),
    ],
)
def test_help_and_hydras_flags_wherever_they_stand(command: str, shown: str, door: Door, tmp_path: Path) -> None:
    done = door(*command.split())
    assert re.search(shown, done.stdout, re.MULTILINE), done.stdout
    assert "help" not in command or "$" not in done.stdout, "a placeholder that Hydra left"
    assert not done.stderr
    assert list(tmp_path.iterdir()) == []
