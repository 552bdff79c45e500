"""Values, combinations and command lines that make no sense: told before anything is read or trained."""

from pathlib import Path

import pytest
import torch
from refused import Case, nothing, refuse, run_here

QUICK = "logger=none test=false debug=fast"


def rows(*table: tuple[str, str]) -> list[Case]:
    """Cases of scripts/train.py that need no input: what is given, and what is said."""
    return [Case(given, nothing, f"train.py {QUICK} {given}", message) for given, message in table]


TYPES = rows(
    ("data.batch_size=1.5", "data.batch_size=1.5: .*integer"),
    ("data.batch_size=null", "data.batch_size=null: "),
    ("data.fit_on=all", "data.fit_on=all: .*'train' or 'train_valid'"),
    ("model.hidden_sizes=256", "model.hidden_sizes=256: "),
    ("model.compile=yes", "model.compile=yes: .*boolean"),
    ("optimizer.lr=1e-3x", "optimizer.lr=1e-3x: .*number"),
    ("schedule.interval=step", "schedule.interval=step: .*'epoch' or 'batch'"),
    ("trainer.max_epochs=1.5", "trainer.max_epochs=1.5: "),
    ("trainer.precision=8", "trainer.precision=8: "),
    ("trainer.deterministic=maybe", "trainer.deterministic=maybe: "),
    ("seed=null", "seed=null: "),
    ("test=1", "test=1: "),
    ("name=null", "name=null: "),
    ("sweep.on_error=ignore", "sweep=.*on_error: .*'continue' or 'stop'"),
    ("+sede=3", "sede=3: nothing reads this key. Did you mean seed"),
    ("+trainer.max_epoch=3", "trainer.max_epoch=3: .*Did you mean 'trainer.max_epochs'"),
    ("+model.optimizer=3", "model.optimizer: the program gives it itself; leave it out"),
    ("+trainer.logger=true", "trainer.logger: the program gives it itself"),
    ("data.batch_size=??? optimizer.lr=???", "data.batch_size=.*\noptimizer.lr="),
)

RANGES = rows(
    ("data.mean=[nan]", r"data.mean\[0\]=nan: expected a finite number"),
    ("data.std=[0.0]", "data.std=.* above 0"),
    ("data.eval_batch_size=0", "data.eval_batch_size must be at least 1, got 0"),
    ("data.val_fraction=1.0", r"data.val_fraction must lie in \(0, 1\), got 1.0"),
    ("data.num_workers=100000", "data.num_workers must lie in 0 to .*, got 100000"),
    ("optimizer.lr=-1", "optimizer .*-1"),
    ("optimizer=adamw optimizer.betas=[0.9,1.5]", "optimizer .*1.5"),
    ("optimizer=sgld optimizer.lr=-1", "optimizer.lr must be above 0, got -1"),
    ("model.dropout=1", r"model.dropout must lie in \[0, 1\), got 1"),
    ("model.hidden_sizes=[0]", r"model.hidden_sizes must all be at least 1, got \[0\]"),
    ("model.hidden_sizes=[10000000000]", "out of memory .*; choose a smaller"),
    ("schedule=step schedule.period=0", "schedule.period=0: .*at least 1"),
    ("schedule=factor schedule.factor=1.5", "schedule.factor=1.5: .*at most 1"),
    ("schedule.warmup_updates=-1", "schedule.warmup_updates=-1: .*at least 0"),
    ("trainer.max_epochs=-5", "trainer.max_epochs=-5"),
    ("trainer.max_epochs=null", "trainer.max_epochs=null"),
    ("trainer.accumulate_grad_batches=0", "accumulate_grad_batches=0"),
    ("trainer.check_val_every_n_epoch=0", "check_val_every_n_epoch=0"),
    ("trainer.gradient_clip_val=-1", "gradient_clip_val=-1"),
    ("trainer.limit_train_batches=0", "limit_train_batches=0"),
    ("seed=4294967296", "seed=4294967296: .*4294967295"),
    ("seed=-1", "seed=-1: .*0"),
    ("sweep.seeds=0", "seeds: .*1"),
    ("callbacks.checkpoint.every_n_epochs=0", "callbacks.checkpoint.every_n_epochs must be at least 1, got 0"),
    ("callbacks=swa callbacks.swa.start_epoch=-1", "callbacks.swa.start_epoch must be at least 0, got -1"),
)

COMBINATIONS = rows(
    ("data.batch_size=100000", "data.batch_size=100000 is more than the 9000 training images"),
    ("data.num_classes=5", "data.num_classes=5, but there is a label 9"),
    ("data.in_channels=2", "data.in_channels=2, but the images have 1 channel"),
    ("data.mean=[0.1,0.2,0.3]", "must have one finite entry a channel"),
    ("data.augment=foo", "data.augment must be one of none, pad_crop_flip, got 'foo'"),
    ("model=lenet data.resize=4", "LeNet cannot take images of 1x4x4 .*the smallest that fits is 12"),
    ("model.num_classes=3", "data.num_classes=10, but the network was built for 3"),
    ("model.image_size=10", "data.resize=28, but the network was built for 10"),
    ("model=torchvision model.net.name=resnet81", "did you mean resnet18"),
    ("schedule=cosine schedule.max_updates=5 schedule.warmup_updates=5", "schedule.warmup_updates=5"),
    ("schedule=multi_step schedule.milestones=[3,2]", r"milestones=\[3, 2\]: .*in ascending order"),
    ("callbacks=swa callbacks.swa.start_epoch=100", "start_epoch=100, but the run ends after"),
    ("callbacks.checkpoint.monitor=val/accuracy", "is not measured in training: choose one of .*val/acc"),
    ("callbacks=early_stopping retrain_on_all=true", "nothing is validated in this run: monitor train/loss, or"),
    ("trainer.devices=two", "trainer.devices=two"),
    ("trainer.accelerator=quantum", "quantum"),
    ("trainer.strategy=dpp", "dpp"),
    ("trainer=cpu trainer.precision=16-mixed", "trainer.precision=16-mixed: .*bf16-mixed"),
)

COMMAND_LINES = rows(
    ("~model", "model: must be given"),
    ("model=null", "model=null: there is no such choice. There are .*lenet"),
    ("data=nope", "data=nope: there is no such choice. There are fashion_mnist"),
    ("'data={a:1}'", "data={a:1}: there is no such choice"),
    ("model=lenet model=mlp", r"model is chosen twice.*model=\[lenet,mlp\]"),
    ("+callbacks.x=3", "callbacks.x=3 does not say what to make: give callbacks.x._target_=CLASS"),
    ("+callbacks.x._target_=os.nope", "callbacks.x._target_=os.nope: it cannot be imported"),
    ("optimizer.lr=0.1,0.2", "optimizer.lr=0.1,0.2.*--multirun"),
    ("model.hidden_sizes=[256", r"model.hidden_sizes=\[256: .*KEY=VALUE"),
    ("data.batch_size", "data.batch_size: .*KEY=VALUE"),
    ("=3", ""),
    ("+seed=3", "seed"),
    ("name='${nope}'", "'nope' not found"),
    ("name='${oc.env:NOPE_NOT_SET}'", "'NOPE_NOT_SET' not found"),
    ("'model.dropout=${nope}'", "model.dropout: .*'nope'"),
    ("--config-dir nope", "nope' not found"),
    ("--config-name nope", "there is no configuration nope"),
    ("-sc", "install"),
    ("-c job --info", "Only one of"),
    ("hydra.run.dir=", "hydra.run.dir= is empty: give the folder"),
    ("hydra.run.dir=/proc/nope", "/proc/nope"),
    ("hydra.run.dir=null", "hydra.run.dir=null"),
    ("resume=nope", "there is no folder nope: give the run folder that training named at its end"),
    ("-m resume=x", "resume=x means one run in one folder: leave -m out"),
    ("resume=x hydra.run.dir=y", "resume=x means one run in one folder: leave hydra.run.dir= out"),
    ("resume=x rerun=y", "leave rerun= out"),
    ("sweep.resume=x", "add -m"),
)


@pytest.mark.parametrize("case", TYPES + RANGES + COMBINATIONS + COMMAND_LINES, ids=lambda case: case.id)
def test_train(case: Case, here: Path) -> None:
    refuse(case, here)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize(
    "case",
    rows(("trainer=gpu", "No supported gpu backend found"), ("trainer.accelerator=cuda", "can not run on your system")),
    ids=lambda case: case.id,
)
def test_a_gpu_where_there_is_none(case: Case, here: Path) -> None:
    refuse(case, here)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU")
def test_more_gpus_than_there_are(here: Path) -> None:
    there = torch.cuda.device_count()
    (case,) = rows((f"trainer=ddp trainer.devices={there + 1}", f"there are {there} GPU.*choose at most {there}"))
    refuse(case, here)


FIGURES = [
    ("figure=schedules optimizer.lr=0.3", "optimizer.lr=0.3 changes nothing without schedule=CHOICE: add"),
    ("figure=schedules optimizer=adamw", "optimizer=adamw changes nothing without schedule=CHOICE"),
    ("figure=schedules schedule=cosine figure.warmup_updates=3", "changes nothing with schedule=CHOICE: leave one"),
    ("figure=schedules figure.updates=0", "figure.updates must be at least 1, got 0"),
    ("figure=activations figure.step=nan", "figure.step=nan: expected a finite number"),
    ("figure=activations figure.names=[swish]", r"figure.names must be some of relu, .*got \['swish'\]"),
    ("figure=activations hydra.run.dir=/proc/nope", "/proc/nope: "),
    ("figure=shapes model=alexnet data.resize=8", "AlexNet cannot take images of 1x8x8"),
    ("figure=features", "run: must be given"),
]


@pytest.mark.parametrize(("given", "message"), FIGURES, ids=[given for given, _ in FIGURES])
def test_figures(given: str, message: str, here: Path) -> None:
    refuse(Case(given, nothing, f"figures.py {given}", message), here)


def mine(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("mine")
    (folder / "file").write_text("mine")


@pytest.mark.parametrize(
    "case",
    [
        Case("a file", mine, f"train.py {QUICK} hydra.run.dir=file", "file: "),
        Case("below a file", mine, f"train.py {QUICK} hydra.run.dir=file/x", "file/x: "),
        Case("sweep", mine, f"train.py -m {QUICK} seed=0,1 hydra.sweep.dir=file", "file: "),
        Case(
            "a point", nothing, f"train.py -m {QUICK} model.dropout=0,2", "model.dropout must lie.*No job was started"
        ),
    ],
    ids=lambda case: case.id,
)
def test_folders_and_sweeps(case: Case, here: Path) -> None:
    refuse(case, here)


def test_what_was_refused_can_be_said_again_rightly(here: Path) -> None:
    assert run_here(f"train.py {QUICK} hydra.run.dir=chosen model.dropout=2").code == 2
    answer = run_here(f"train.py {QUICK} hydra.run.dir=chosen model.dropout=0.2")
    assert answer.code == 0, answer.err


@pytest.mark.parametrize("precision", ["64-true", "bf16-true", "bf16-mixed"])
def test_precisions_that_a_processor_has(precision: str, here: Path) -> None:
    answer = run_here(f"train.py {QUICK} model=lenet trainer=cpu trainer.precision={precision} hydra.run.dir=run")
    assert answer.code == 0, answer.err
    answer = run_here("evaluate.py run=run")
    assert answer.code == 0, answer.err


def test_validation_every_other_epoch(here: Path) -> None:
    answer = run_here(f"train.py {QUICK} trainer.max_epochs=5 trainer.check_val_every_n_epoch=2 hydra.run.dir=run")
    assert answer.code == 0, answer.err
    best = torch.load(here / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] in (1, 3), "an epoch that was validated"


def test_a_traceback_only_when_asked_for(here: Path) -> None:
    answer = run_here(f"train.py {QUICK} model.dropout=2", IMGCLF_TRACEBACK="1")
    assert answer.code == 2
    assert "Traceback" in answer.err
    assert answer.err.count("error: ") == 1
