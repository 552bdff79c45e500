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

QUICK = "logger=none test=false debug=fast"
ODD = "a run, [x] {y} it's \\ 'z' ü=1"


def test_a_slip_is_answered_before_torch_is_loaded(root: Path, tmp_path: Path) -> None:
    slips = {
        "optimizer.lrr=1": "optimizer.lr?",
        "optimizr=adamw": "optimizer?",
        "optimizer=adamv": "optimizer=adamw?",
        "~callbacks.progres": "callbacks.progress?",
        "-m seed=0,1 modle.dropout=1": "model.dropout?",
        "--help": "",
        "--cfg job": "",
    }
    code = f"""
import runpy, sys
for arguments in {[shlex.split(slip) for slip in slips]}:
    sys.argv = [{str(root / "scripts" / "train.py")!r}, *arguments]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        print("exit code", end.code, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (
        re.findall(r"^exit code .*$", done.stdout, re.MULTILINE)
        == ["exit code 2 False"] * 5 + ["exit code 0 False"] * 2
    )
    lines = done.stderr.splitlines()
    for line, (slip, right) in zip(lines, list(slips.items())[:5], strict=True):
        key = slip.split()[-1].partition("=")[0].lstrip("~")
        assert re.fullmatch(rf"error: {re.escape(key)}.*Did you mean {re.escape(right)}.*", line)


# Each kind of mistake once, by what it has to name. Ranges of constructors are tested with their classes.
REFUSED: list[tuple[str, ...]] = [
    # values
    ("data.batch_size=1.5 optimizer.lr=1e-3x", "data.batch_size=1.5: ", "integer", "optimizer.lr=1e-3x: ", "number"),
    ("data.fit_on=all", "data.fit_on=all", "'train_valid'"),
    ("seed=-1", "seed=-1"),
    ("seed=4294967296", "seed=4294967296"),
    ("test=1", "test=1"),
    ("name=null", "name=null"),
    ("sweep.on_error=ignore", "on_error"),
    ("+sede=3", "sede=3", "seed"),
    ("+model.optimizer=3", "model.optimizer"),
    ("+trainer.logger=true", "trainer.logger"),
    ("data.batch_size=??? optimizer.lr=???", "data.batch_size=", "optimizer.lr="),
    ("data.mean=[nan]", "data.mean[0]=nan"),
    ("data.eval_batch_size=0", "data.eval_batch_size", "0"),
    ("optimizer.lr=-1", "optimizer", "-1"),
    ("model.dropout=1", "model.dropout=1", "less than 1"),
    ("model.hidden_sizes=[10000000000]", "out of memory"),
    ("schedule=step schedule.period=0", "schedule.period=0"),
    ("trainer.max_epochs=null", "trainer.max_epochs=null"),
    ("trainer.accumulate_grad_batches=0", "accumulate_grad_batches=0"),
    ("trainer.gradient_clip_val=-1", "gradient_clip_val=-1"),
    ("trainer.limit_train_batches=0", "limit_train_batches=0"),
    ("trainer.limit_train_batches=0.001", "limit_train_batches"),
    ("callbacks.checkpoint.every_n_epochs=0", "callbacks.checkpoint.every_n_epochs=0", "equal to 1"),
    # what does not go together
    ("data.batch_size=100000", "data.batch_size=100000", "9000"),
    ("data.num_classes=5", "data.num_classes=5", "label 9"),
    ("data.in_channels=2", "data.in_channels=2", "1 channel"),
    ("data.augment=foo", "data.augment", "pad_crop_flip", "'foo'"),
    ("model=lenet data.resize=4", "LeNet", "1x4x4", "12"),
    ("model.image_size=10", "data.resize=28", "10"),
    ("model=torchvision model.net.name=resnet81", "resnet18"),
    ("schedule=cosine schedule.max_updates=5 schedule.warmup_updates=5", "schedule.warmup_updates=5"),
    ("callbacks=swa callbacks.swa.start_epoch=100", "start_epoch=100"),
    ("callbacks.checkpoint.monitor=val/accuracy", "val/accuracy", "val/acc"),
    ("callbacks=early_stopping retrain_on_all=true", "validated"),
    ("trainer.devices=two", "trainer.devices=two"),
    ("trainer.accelerator=quantum", "quantum"),
    ("trainer.strategy=dpp", "dpp"),
    ("trainer=cpu trainer.precision=16-mixed", "trainer.precision=16-mixed", "bf16-mixed"),
    # command lines
    ("~model", "model: "),
    ("model=null", "model=null", "lenet"),
    ("'data={a:1}'", "data={a:1}"),
    ("model=lenet model=mlp", "model=[lenet,mlp]"),
    ("+callbacks.x=3", "callbacks.x._target_="),
    ("+callbacks.x._target_=os.nope", "callbacks.x._target_=os.nope"),
    ("optimizer.lr=0.1,0.2", "optimizer.lr=0.1,0.2", "--multirun"),
    ("model.hidden_sizes=[256", "model.hidden_sizes=[256", "KEY=VALUE"),
    ("data.batch_size", "data.batch_size", "KEY=VALUE"),
    ("name='${nope}'", "'nope'"),
    ("'model.dropout=${nope}'", "model.dropout", "'nope'"),
    ("--config-name nope", "nope"),
    ("-c job --info", "Only one of"),
    ("hydra.run.dir=", "hydra.run.dir="),
    ("hydra.run.dir=/proc/nope", "/proc/nope"),
    ("hydra.run.dir=null", "hydra.run.dir=null"),
    ("resume=nope", "nope"),
    ("-m resume=x", "resume=x", "-m"),
    ("resume=x hydra.run.dir=y", "resume=x", "hydra.run.dir="),
    ("resume=x rerun=y", "rerun="),
    ("sweep.resume=x", "-m"),
    ("-m sweep.resume=x", "x", "sweep.json"),
]


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row[0])
def test_what_training_cannot_do(row: tuple[str, ...], refused: Refused) -> None:
    refused(f"train.py {QUICK} {row[0]}", *row[1:])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("trainer=gpu", ["gpu"])
        if not torch.cuda.is_available()
        else ("trainer=ddp trainer.devices=99", ["99", "GPU"]),
        ("hydra.run.dir=file", ["file: "]),
        ("hydra.run.dir=file/x", ["file/x: "]),
        ("-m seed=0,1 hydra.sweep.dir=file", ["file: "]),
    ],
)
def test_what_is_in_the_way(given: str, words: list[str], refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    refused(f"train.py {QUICK} {given}", *words)


def test_what_was_refused_can_be_said_again_rightly_and_has_a_traceback_on_request(door: Door) -> None:
    wrong = ("train.py", *QUICK.split(), "hydra.run.dir=chosen", "model.dropout=2")
    told = door(*wrong, expect=2, IMGCLF_TRACEBACK="1").stderr
    assert "Traceback" in told
    assert told.count("error: ") == 1
    door(*wrong, "model.dropout=0.2")


def test_a_path_needs_no_quotes_but_the_shells(door: Door, tmp_path: Path) -> None:
    door("train.py", *QUICK.split(), "hydra.run.dir=run")
    (tmp_path / "run").rename(tmp_path / ODD)
    door("evaluate.py", f"run={ODD}")
    door("train.py", f"resume={ODD}", "trainer.max_epochs=2")
    assert json.loads((tmp_path / ODD / "metrics.json").read_text())["epochs"] == 2
    door("train.py", f"rerun={ODD}", "hydra.run.dir=again")
    assert not (tmp_path / "logs").exists()


def test_a_sweep_remembers_its_flags_and_its_folder_may_have_any_name(door: Door, tmp_path: Path) -> None:
    (tmp_path / "own" / "model").mkdir(parents=True)
    (tmp_path / "own" / "model" / "tiny.yaml").write_text("defaults: [mlp]\nhidden_sizes: [4]\n")
    given = "seed=0,1 debug=fast test=false logger=none model=tiny hydra.sweep.dir=sweep -m -cd own"
    door("train.py", *given.split())
    arguments = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["arguments"]
    assert arguments[arguments.index("-cd") + 1] == "own"
    (tmp_path / "sweep" / "seed@1" / "metrics.json").unlink()
    (tmp_path / "sweep").rename(tmp_path / ODD)
    door("train.py", "-m", f"sweep.resume={ODD}")
    assert (tmp_path / ODD / "seed@1" / "metrics.json").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([ODD, "own"])


@pytest.mark.parametrize("script", ["train", "evaluate", "predict", "figures", "report", "prepare_kaggle"])
def test_help_is_shown_whatever_is_missing(script: str, door: Door) -> None:
    done = door(f"{script}.py", "--help")
    assert f"uv run scripts/{script}.py" in done.stdout
    assert "$" not in done.stdout, "a placeholder that Hydra left"
    assert not done.stderr
    if script == "train":
        for group in ("data", "model", "optimizer", "schedule", "trainer", "callbacks", "logger", "debug"):
            assert re.search(rf"^{group}: \w+", done.stdout, re.MULTILINE), group


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
def test_hydras_flags_may_stand_behind_the_arguments(flags: str, shown: str, door: Door, tmp_path: Path) -> None:
    done = door("train.py", "optimizer.lr=0.3", *flags.split())
    assert re.search(shown, done.stdout, re.MULTILINE), done.stdout
    assert list(tmp_path.iterdir()) == []
