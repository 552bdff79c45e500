"""What is typed behind a script: paths, flags, help; and mistakes, which are told at once."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, Door, Refused
from run_files import metrics

import imgclf
from imgclf.errors import InputError

CSV = "pytorch_lightning.loggers.CSVLogger"
MATRIX = "torchmetrics.classification.MulticlassConfusionMatrix"
HAMMING, STOPPING = "torchmetrics.classification.MulticlassHammingDistance", "callbacks.early_stopping"
LIGHTNINGS_SWA = "pytorch_lightning.callbacks.StochasticWeightAveraging"
DRAWING = [
    *("callbacks.inputs.images=0", "callbacks.mistakes.images=-1", "callbacks.confusion.every_n_epochs=0"),
    *("callbacks.histograms.every_n_epochs=0", "callbacks.checkpoint.every_n_epochs=0"),
]
TINY = '# @package _global_\nwidth: 4\nmodel: {hidden_sizes: ["${width}"]}\n'
QUICK = "logger=none test=false debug=fast"
ODD = "a run, [x] {y} it's \\ 'z' ü=1"


def test_a_slip_is_answered_before_torch_is_loaded(tmp_path: Path) -> None:
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
    sys.argv = [{str(ROOT / "scripts" / "train.py")!r}, *arguments]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        print("exit code", end.code, not sys.modules.keys().isdisjoint(("torch", "pandas", "plotly", "rich")))
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
    ("+sede=3 +ckpt_path=/x loss.label_smoothing=2", "sede=3", "seed?", "ckpt_path=/x", "loss.label_smoothing=2"),
    (f"callbacks=histograms {' '.join(DRAWING)}", *DRAWING),
    ("data=image_folder", "data.dir=???: must be given"),
    ("+folder=x", "hydra.run.dir=FOLDER"),
    ("'+logger.w={_target_: pytorch_lightning.loggers.WandbLogger, log_model: true}'", "log_model=false"),
    ("optimizer.lr=-1", "optimizer", "-1"),
    ("trainer.max_epochs=0", "trainer.max_epochs=0", "evaluate.py"),
    ("trainer.max_epochs=null", "trainer.max_epochs=null"),
    ("trainer.limit_train_batches=0", "limit_train_batches=0"),
    ("+trainer.fast_dev_run=true", "debug=fast"),
    # what does not go together
    ("data.batch_size=100000", "data.batch_size=100000", "9000"),
    ("data.num_classes=5", "data.num_classes=5", "labels go from 0 to 9"),
    ("data.folds=3 data.fold=3", "data.fold=3"),
    ("loss.class_weights=[1,2]", "loss.class_weights"),
    (f"'+model.metrics.cm={{_target_: {MATRIX}, num_classes: 10}}'", "model.metrics.cm", "(10, 10)"),
    ("trainer.devices=two", "trainer.devices=two"),
    ("trainer=cpu trainer.precision=16-mixed", "trainer.precision=16-mixed", "bf16-mixed"),
    ("callbacks.checkpoint.monitor=val/accuracy", "val/accuracy", "val/acc"),
    ("schedule=plateau retrain_on_all=true", "schedule.monitor=val/loss", "validated"),
    ("callbacks.checkpoint.monitor=val/loss", "callbacks.checkpoint.mode=min"),
    (f"'+model.metrics.h={{_target_: {HAMMING}, num_classes: 10}}' callbacks.checkpoint.monitor=val/h", "mode=min"),
    (f"callbacks=early_stopping metrics=full {STOPPING}.monitor=train/f1", "train/f1", "val/f1"),
    ("data.sampler=balanced loss.class_weights=balanced", "twice"),
    ("callbacks=ema trainer.precision=bf16-true", "bf16-mixed"),
    ("callbacks=early_stopping retrain_on_all=true", "validated"),
    (f'+logger.csv._target_={CSV} \'+logger.csv={{save_dir: ${{folder}}, name: "", version: ""}}\'', "metrics.csv"),
    (f"+callbacks.x._target_={LIGHTNINGS_SWA} +callbacks.x.swa_lrs=0.1", "callbacks=swa"),
    ("+callbacks.x._target_=os.nope", "callbacks.x._target_=os.nope"),
    # what no configuration comes of
    ("model=null", "model=null", "lenet"),
    ("optimizer.lr=0.1,0.2", "optimizer.lr=0.1,0.2", "--multirun"),
    ("model.hidden_sizes=[256", "model.hidden_sizes=[256", "KEY=VALUE"),
    ("+data.class_names=[Hund,Kätzchen]", "data.class_names=[Hund,Kätzchen]", "['A','B']"),
    ("hydra.run.dir=", "hydra.run.dir="),
    ("resume=x hydra.run.dir=y", "resume=x", "hydra.run.dir="),
]
# What the machine, the disk and Hydra's flags have a part in.
COMMANDS = [
    ("model.dropout=1", "model.dropout=1", "less than 1"),
    ("model.hidden_sizes=[10000000000]", "out of memory"),
    ("trainer=gpu", "gpu") if not torch.cuda.is_available() else ("trainer=ddp trainer.devices=99", "99", "GPU"),
    ("hydra.run.dir=/proc/nope", "/proc/nope"),
    ("hydra.run.dir=file", "file: "),
    ("resume=nope", "nope"),
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
    door(*wrong, "+rate=0.2", "model.dropout=${rate}")
    (tmp_path / "run").rename(tmp_path / ODD)
    door("train.py", f"resume={ODD}", "trainer.max_epochs=2")
    assert metrics(tmp_path / ODD)["epochs"] == 2
    assert not (tmp_path / "logs").exists()


@pytest.mark.slow
def test_a_sweep_remembers_its_flags_and_its_folder_may_have_any_name(door: Door, tmp_path: Path) -> None:
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "tiny.yaml").write_text(TINY)
    door("train.py", *f"seed=0,1 {QUICK} experiment=tiny sweep.report=false hydra.sweep.dir=sweep -m -cd own".split())
    arguments = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["arguments"]
    assert arguments[arguments.index("-cd") + 1] == "own"
    (tmp_path / "sweep" / "seed@1" / "metrics.json").unlink()
    (tmp_path / "sweep").rename(tmp_path / ODD)
    (tmp_path / "own").rename(tmp_path / "moved")
    door("train.py", "-m", f"sweep.resume={ODD}", "-cd", "moved")
    assert (tmp_path / ODD / "seed@1" / "metrics.json").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([ODD, "moved"])


def test_help_and_hydras_flags_wherever_they_stand(door: Door, tmp_path: Path) -> None:
    for command, shown in {
        "train.py --help": r"^model: .*lenet",
        **{f"{x}.py --help": rf"uv run scripts/{x}\.py" for x in ("evaluate", "predict", "figures", "prepare_kaggle")},
        "train.py optimizer.lr=0.3 -c job --package optimizer": r"^lr: 0\.3$",
        "train.py test=false -c job --resolve": r"^name: mlp_fashion_mnist_mini$",
    }.items():
        done = door(*command.split())
        assert re.search(shown, done.stdout, re.MULTILINE), done.stdout
        assert "help" not in command or "$" not in done.stdout, "a placeholder that Hydra left"
        assert not done.stderr
    assert list(tmp_path.iterdir()) == []
