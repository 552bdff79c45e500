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
    ("data.batch_size=1.5", "data.batch_size=1.5: expected int, got a float"),
    ("data.batch_size=[1,2]", "data.batch_size=.*: expected int, got a list"),
    ("data.batch_size=null", "data.batch_size=null: expected int, got null"),
    ("data.mean=0.3", r"data.mean=0.3: expected a list of float, got a float. Write \[0.3\]"),
    ("data.resident=maybe", "data.resident=maybe: expected true or false or auto"),
    ("data.fit_on=all", "data.fit_on=all: expected one of train, train_valid"),
    ("model.hidden_sizes=256", r"model.hidden_sizes=256: expected a list of int, got an int. Write \[256\]"),
    ("model.activation=null", "model.activation=null: expected one of relu, prelu"),
    ("model.compile=yes", "model.compile=yes: expected true or false, got text. Write true"),
    ("optimizer.lr=null", "optimizer.lr=null: expected float, got null"),
    ("optimizer.lr=1e-3x", "optimizer.lr=1e-3x: expected float, got text"),
    ("optimizer=adamw optimizer.betas=[0.9]", r"optimizer.betas=\[0.9\]: expected a list \[float, float\]"),
    ("schedule.interval=step", "schedule.interval=step: expected one of epoch, batch"),
    ("schedule.warmup_updates=2.5", "schedule.warmup_updates=2.5: expected int, got a float"),
    ("trainer.max_epochs=1.5", "trainer.max_epochs=1.5: expected int or null"),
    ("trainer.deterministic=maybe", "trainer.deterministic=maybe: expected true or false or warn or null"),
    ("trainer.detect_anomaly=maybe", "trainer.detect_anomaly=maybe: expected true or false"),
    ("trainer.precision=8", "trainer.precision=8: expected one of auto, 32-true"),
    ("callbacks.checkpoint.mode=maximum", "callbacks.checkpoint.mode=maximum: .*Did you mean 'max'"),
    ("seed=null", "seed=null: expected int; write seed=1"),
    ("seed=1.0", "seed=1.0: expected int"),
    ("test=1", "test=1: expected bool; write test=true or false"),
    ("name=null", "name=null: expected str; write name=TEXT"),
)

RANGES = rows(
    ("data.mean=[nan]", r"data.mean=\[nan\]: expected a finite number"),
    ("data.std=[inf]", r"data.std=\[inf\]: expected a finite number"),
    ("data.std=[0.0]", "data.std=.* must have one finite entry a channel, std above 0"),
    ("data.eval_batch_size=0", "data.eval_batch_size must be at least 1, got 0"),
    ("data.val_fraction=1.0", r"data.val_fraction must lie in \(0, 1\), got 1.0"),
    ("data.num_workers=100000", "data.num_workers must lie in 0 to .* on this machine, got 100000"),
    ("optimizer.lr=nan", "optimizer.lr=nan: expected a finite number"),
    ("optimizer.lr=-1", "Invalid learning rate: -1. Give another optimizer.KEY=VALUE"),
    ("optimizer.weight_decay=-1", "Invalid weight_decay value: -1. Give another"),
    ("optimizer=adamw optimizer.betas=[0.9,1.5]", "Invalid beta parameter at index 1: 1.5. Give another"),
    ("optimizer=sgld optimizer.lr=-1", "optimizer.lr must be above 0, got -1"),
    ("model.dropout=nan", "model.dropout=nan: expected a finite number"),
    ("model.dropout=1", r"model.dropout must lie in \[0, 1\), got 1"),
    ("model.label_smoothing=1", r"model.label_smoothing must lie in \[0, 1\), got 1"),
    ("model.hidden_sizes=[0]", r"model.hidden_sizes must all be at least 1, got \[0\]"),
    ("model.hidden_sizes=[10000000000]", "out of memory .*; choose a smaller data.batch_size, data.resize or network"),
    ("schedule=step schedule.period=0", "schedule.period=0: .*whole number, at least 1"),
    ("schedule=factor schedule.factor=1.5", "schedule.factor=1.5: .*a number above 0 and at most 1"),
    ("schedule.warmup_updates=-1", "schedule.warmup_updates=-1: .*at least 0"),
    ("trainer.max_epochs=-5", "trainer.max_epochs=-5: expected -1 or more"),
    ("trainer.max_epochs=null", "trainer.max_epochs=null: .*give the number, or -1 for no end"),
    ("trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches=0: expected 1 or more"),
    ("trainer.check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch=0: expected 1 or more"),
    ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val=-1: expected 0 or more"),
    ("trainer.limit_train_batches=0", "trainer.limit_train_batches=0: nothing would be trained"),
    ("trainer.limit_train_batches=1.5", "invalid value 1.5 for limit_train_batches, it has to be in"),
    ("+trainer.max_time=soon", "duration='soon'.* is not a valid duration. Expected"),
    ("seed=4294967296", "seed=4294967296: expected 0 or more, and at most 4294967295"),
    ("callbacks.checkpoint.every_n_epochs=0", "callbacks.checkpoint.every_n_epochs must be at least 1, got 0"),
    ("callbacks.progress.refresh_seconds=0", "callbacks.progress.refresh_seconds must be above 0, got 0"),
    ("callbacks=swa callbacks.swa.start_epoch=-1", "callbacks.swa.start_epoch must be at least 0, got -1"),
    ("+trainer.val_check_interval=0", "trainer.val_check_interval=0: give a number of batches from 1, or a share"),
    ("callbacks=ema callbacks.ema.decay=2", "Invalid decay value 2"),
    ("callbacks=ema callbacks.ema.update_every_n_steps=0", "callbacks.ema.update_every_n_steps=0: expected 1 or more"),
    ("callbacks=early_stopping callbacks.early_stopping.patience=-1", "early_stopping.patience=-1: expected 0 or more"),
    ("name=../x", "name=../x: expected a name for logs/runs/NAME"),
    ("name=", "name=: expected a name for logs/runs/NAME"),
)

COMBINATIONS = rows(
    ("data.batch_size=100000", "data.batch_size=100000 is more than the 9000 training images .*choose at most 9000"),
    ("data.num_classes=5", "data.num_classes=5, but there is a label 9: give data.num_classes=10 or more"),
    ("data.num_classes=12", "data.num_classes=12, but the data set names 10 classes: give data.num_classes=10"),
    ("data.in_channels=2", "data.in_channels=2, but the images have 1 channel.*or 3 to have the grey channel repeated"),
    ("data.mean=[0.1,0.2,0.3]", "must have one finite entry a channel"),
    ("data.mean=[0.1,0.2,0.3] data.std=[1,1,1]", "have 3 entries, the images 1 channel.*give one each"),
    ("data.mean=[] data.std=[]", "have 0 entries, the images 1 channel"),
    ("data.resident=true data.num_workers=2", "workers cannot reach images in a GPU's memory, set data.num_workers=0"),
    ("data.augment=foo", "data.augment must be one of none, pad_crop_flip, got 'foo'"),
    (
        "data.augment=pad_crop_flip data.augmentations.pad_crop_flip.pad_pixels=40",
        "reflect needs pad_pixels below the image's side, got 40 for 28x28",
    ),
    ("model=lenet data.resize=4", "LeNet cannot take images of 1x4x4 .*data.resize, the smallest that fits is 12"),
    ("model=alexnet", "AlexNet cannot take images of 1x28x28.*the smallest that fits is 63"),
    ("model.num_classes=3", "data.num_classes=10, but the network was built for 3: give data.num_classes=3"),
    ("model.in_channels=3", "data.in_channels=1, but the network was built for 3"),
    ("model.image_size=10", "data.resize=28, but the network was built for 10: give data.resize=10"),
    ("model=torchvision model.net.name=resnet81", "did you mean resnet18"),
    ("+model.optimizer=3", "model.optimizer: the program gives it itself; leave it out"),
    ("+trainer.logger=true", "trainer.logger: the program gives it itself"),
    ("schedule=cosine schedule.max_updates=5 schedule.warmup_updates=5", "give more than schedule.warmup_updates=5"),
    ("schedule=cosine trainer.max_epochs=-1", "schedule.max_updates=null means the whole run.*or trainer.max_epochs"),
    ("schedule=multi_step schedule.milestones=[3,2]", r"milestones=\[3, 2\]: .*in ascending order, each once"),
    ("schedule=multi_step schedule.milestones=[2] schedule.warmup_updates=3", "2 lies in the warm-up"),
    ("callbacks=swa callbacks.swa.start_epoch=100", "start_epoch=100, but the run ends after trainer.max_epochs=1"),
    ("callbacks.checkpoint.monitor=val/accuracy", "is not measured in training: choose one of .*val/acc"),
    ("callbacks=early_stopping callbacks.early_stopping.monitor=val/foo", "monitor=val/foo is not measured"),
    ("callbacks=early_stopping retrain_on_all=true", "nothing is validated in this run: monitor train/loss, or"),
    ("trainer.num_nodes=2", "trainer.num_nodes=2: start the command on every machine with torchrun or SLURM"),
    ("trainer.devices=2", "trainer.devices=2 with trainer.strategy=auto: several devices need trainer=ddp"),
    ("trainer.devices=0", "trainer.devices=0: expected how many, from 1"),
    ("trainer.devices=two", "trainer.devices=two: expected how many"),
    ("trainer.accelerator=quantum", "accelerator='quantum'.* Available names are: auto"),
    ("trainer.strategy=dpp", "strategy='dpp'"),
    ("trainer=ddp_cpu trainer.strategy=ddp_spawn", "the program starts the processes itself; give ddp"),
    ("trainer=cpu trainer.precision=16-mixed", "trainer.precision=16-mixed: a processor has it not; give bf16-mixed"),
    ("trainer=cpu +trainer.barebones=true", "barebones=True"),
    ("sweep.on_error=ignore", "sweep.on_error=ignore: expected one of continue, stop"),
)

COMMAND_LINES = rows(
    ("~model", "model: must be given; choose one with model=CHOICE"),
    ("~optimizer", "optimizer: must be given"),
    ("model=null", "model=null: there is no such choice"),
    ("data=nope", "data=nope: there is no such choice.*Choices: fashion_mnist"),
    ("'data={a:1}'", "data={a:1}: a group takes the name of a file.*Choices: fashion_mnist"),
    ("logger=wandb", "logger=wandb: there is no such choice.*Choices: none, tensorboard"),
    ("+callbacks.x=3", r"callbacks.x=3 does not say what to make: give callbacks.x._target_=CLASS"),
    ("+callbacks.x={}", r"callbacks.x={} does not say what to make"),
    ("schedule=cosine,step", "several values, but this is a single run"),
    ("optimizer.lr=0.1,0.2", "several values, but this is a single run.*add -m"),
    ("model.hidden_sizes=[256", r"the '\[' is not closed"),
    ("data.batch_size", "a value is missing; write KEY=VALUE"),
    ("=3", "the key is missing"),
    ("name='${nope}'", r"\${nope} points at no key"),
    ("name='${oc.env:NOPE_NOT_SET}'", "hydra.run.dir: .*'NOPE_NOT_SET' not found.*Mend what stands inside"),
    ("--config-dir nope", "--config-dir: there is no folder .*nope"),
    ("--config-name nope", "There is no configuration 'nope'"),
    ("resume=nope", "there is no folder nope: give the run folder that training named at its end"),
    ("+resume=nope", "there is no folder nope"),
    ("hydra.run.dir=", "hydra.run.dir= is empty: give the folder"),
    ("hydra.run.dir=/proc/nope", "hydra.run.dir=/proc/nope cannot be made a folder .*choose another one"),
    ("hydra.run.dir=null", "hydra.run.dir=null"),
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
    ("figure=activations hydra.run.dir=/proc/nope", "hydra.run.dir=/proc/nope cannot be made a folder"),
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
        Case("a file", mine, f"train.py {QUICK} hydra.run.dir=file", "hydra.run.dir=file cannot be made a folder"),
        Case("below a file", mine, f"train.py {QUICK} hydra.run.dir=file/x", "file/x cannot be made a folder"),
        Case("others' files", mine, f"train.py {QUICK} hydra.run.dir=mine model.dropout=2", "model.dropout must lie"),
        Case(
            "sweep", mine, f"train.py -m {QUICK} seed=0,1 hydra.sweep.dir=file", "hydra.sweep.dir=file cannot be made"
        ),
        Case(
            "a point", nothing, f"train.py -m {QUICK} model.dropout=0,2", "model.dropout must lie.*No job was started"
        ),
        Case(
            "precision", nothing, f"train.py -m {QUICK} trainer=cpu trainer.precision=16-mixed seed=0,1", "has it not"
        ),
    ],
    ids=lambda case: case.id,
)
def test_folders_and_sweeps(case: Case, here: Path) -> None:
    refuse(case, here)


def test_what_was_refused_can_be_said_again_rightly(here: Path) -> None:
    (case,) = rows(("hydra.run.dir=chosen model.dropout=2", "model.dropout must lie"))
    refuse(case, here)
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
