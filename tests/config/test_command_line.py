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

import imgclf
from imgclf.errors import InputError

LIGHTNINGS_SWA = "pytorch_lightning.callbacks.StochasticWeightAveraging"
DRAWING = [
    *("callbacks.inputs.images=0", "callbacks.mistakes.columns=-1", "callbacks.confusion.every_n_epochs=0"),
    *("callbacks.planned_rate.points=1", "callbacks.histograms.bins=0", "callbacks.checkpoint.every_n_epochs=0"),
]
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
    (f"callbacks=histograms {' '.join(DRAWING)}", *DRAWING),
    ("optimizer.lr=-1", "optimizer", "-1"),
    ("trainer.max_epochs=null", "trainer.max_epochs=null"),
    ("trainer.accumulate_grad_batches=0", "accumulate_grad_batches=0"),
    ("trainer.limit_train_batches=0", "limit_train_batches=0"),
    ("trainer.limit_train_batches=0.001", "trainer.limit_train_batches"),
    ("trainer.limit_val_batches=0.5", "trainer.limit_val_batches"),
    # what does not go together
    ("data.batch_size=100000", "data.batch_size=100000", "9000"),
    ("data.num_classes=5", "data.num_classes=5", "label 9"),
    ("data.in_channels=2", "data.in_channels=2", "1 channel"),
    ("model.image_size=10", "data.resize=28", "10"),
    ("+trainer.overfit_batches=2", "trainer.overfit_batches"),
    ("+trainer.val_check_interval=100 trainer.limit_train_batches=9", "trainer.val_check_interval"),
    ("+trainer.sync_batchnorm=true trainer.accelerator=cpu", "trainer.sync_batchnorm"),
    ("trainer.devices=two", "trainer.devices=two"),
    ("trainer.strategy=dpp", "dpp"),
    ("trainer=cpu trainer.precision=16-mixed", "trainer.precision=16-mixed", "bf16-mixed"),
    ("callbacks.checkpoint.monitor=val/accuracy", "val/accuracy", "val/acc"),
    ("callbacks=early_stopping retrain_on_all=true", "validated"),
    ("callbacks=[ema,swa]", "ExponentialMovingAverage and StochasticWeightAveraging"),
    (f"+callbacks.x._target_={LIGHTNINGS_SWA} +callbacks.x.swa_lrs=0.1", "callbacks=swa"),
    ("+callbacks.x=3", "callbacks.x._target_="),
    ("+callbacks.x._target_=os.nope", "callbacks.x._target_=os.nope"),
    # what no configuration comes of
    ("~model", "model: "),
    ("model=null", "model=null", "lenet"),
    ("'data={a:1}'", "data={a:1}"),
    ("callbacks=ema +callbacks=early_stopping", "callbacks=[ema,early_stopping]"),
    ("optimizer.lr=0.1,0.2", "optimizer.lr=0.1,0.2", "--multirun"),
    ("model.hidden_sizes=[256", "model.hidden_sizes=[256", "KEY=VALUE"),
    ("+data.class_names=[Hund,Kätzchen]", "data.class_names=[Hund,Kätzchen]", "['A','B']"),
    ("data.batch_size", "data.batch_size", "KEY=VALUE"),
    ("name='${nope}'", "'nope'"),
    ("'model.dropout=${nope}'", "model.dropout", "'nope'"),
    ("hydra.run.dir=", "hydra.run.dir="),
    ("hydra.run.dir=null", "hydra.run.dir=null"),
    ("resume=x hydra.run.dir=y", "resume=x", "hydra.run.dir="),
    ("resume=x rerun=y", "rerun="),
    ("sweep.resume=x", "-m"),
]
# What the machine, the disk and Hydra's flags have a part in.
COMMANDS = [
    ("model.dropout=1", "model.dropout=1", "less than 1"),
    ("model.hidden_sizes=[10000000000]", "out of memory"),
    ("trainer=gpu", "gpu") if not torch.cuda.is_available() else ("trainer=ddp trainer.devices=99", "99", "GPU"),
    ("--config-name nope", "nope"),
    ("hydra.run.dir=/proc/nope", "/proc/nope"),
    ("hydra.run.dir=file", "file: "),
    ("-m seed=0,1 hydra.sweep.dir=file", "file: "),
    ("resume=nope", "nope"),
    ("-m resume=x", "resume=x", "-m"),
    ("-m sweep.resume=x", "x", "sweep.json"),
]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
def test_what_training_cannot_do(row: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as told:
        imgclf.fit(imgclf.compose(shlex.split(f"{QUICK} {row[0]}")))
    assert [word for word in row[1:] if word not in str(told.value)] == []
    assert not list(tmp_path.rglob("*.ckpt"))


def test_what_a_command_cannot_do_is_told_once_and_leaves_nothing(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for given, *words in COMMANDS:
        refused(f"train.py {QUICK} {given}", *words)


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
        ("train.py optimizer.lr=0.3 -c job --package optimizer", r"^lr: 0\.3$"),
        ("train.py test=false -c job --resolve", r"^name: mlp_fashion_mnist_mini$"),
    ],
)
def test_help_and_hydras_flags_wherever_they_stand(command: str, shown: str, door: Door, tmp_path: Path) -> None:
    done = door(*command.split())
    assert re.search(shown, done.stdout, re.MULTILINE), done.stdout
    assert "help" not in command or "$" not in done.stdout, "a placeholder that Hydra left"
    assert not done.stderr
    assert list(tmp_path.iterdir()) == []
