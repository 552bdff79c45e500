"""Run folders of which a piece is missing, half-written, or of another version; and the wrong kind of folder."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Door, Doors, Refused, contents
from run_files import metrics

CONFIG, OVERRIDES = ".hydra/config.yaml", ".hydra/overrides.yaml"
BEST, LAST = "checkpoints/best.ckpt", "checkpoints/last.ckpt"
EVALUATE, MORE = "evaluate.py run=run", "train.py resume=run trainer.max_epochs=2"
QUICK = ("debug=fast", "test=false", "model.hidden_sizes=[8]", "callbacks=bare", "logger=none")
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Path:
    """A finished run of one epoch, and a sweep of two."""
    folder = tmp_path_factory.mktemp("trained")
    doors(folder)("train.py", *QUICK, "hydra.run.dir=run")
    doors(folder)("train.py", "-m", *QUICK, "seed=0,1", "hydra.sweep.dir=sweep", "sweep.report=false")
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of them in the working directory."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path / "run"


def cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def replaced(old: str, new: str) -> Change:
    return lambda file: file.write_text(re.sub(old, new, file.read_text(), flags=re.MULTILINE))


def checkpoint(change: Callable[[dict[str, Any]], object]) -> Change:
    def changed(file: Path) -> None:
        content = torch.load(file, weights_only=True)
        change(content)
        torch.save(content, file)

    return changed


OTHER_LAYERS = checkpoint(lambda c: c.update(state_dict={f"x.{k}": v for k, v in c["state_dict"].items()}))
NO_NUMBERS = checkpoint(lambda c: next(iter(c["state_dict"].values())).fill_(float("nan")))
DAMAGED: list[tuple[str, Change, str, list[str]]] = [
    (CONFIG, Path.unlink, EVALUATE, ["run", CONFIG]),
    (CONFIG, replaced("^  dropout:", "  drop_rate:"), EVALUATE, [CONFIG, "'drop_rate'", "version"]),
    (BEST, Path.unlink, EVALUATE, [f"run/{BEST}"]),
    (BEST, OTHER_LAYERS, EVALUATE, [BEST, "MLP"]),
    (BEST, NO_NUMBERS, EVALUATE, [BEST, "no numbers"]),
    (LAST, Path.unlink, MORE, [LAST, "continue"]),
    (LAST, cut, MORE, [LAST]),
    (LAST, checkpoint(lambda c: c.pop("loops")), MORE, [LAST, "loops"]),
    ("run.json", cut, MORE, ["run.json", "damaged"]),
    ("metrics.csv", lambda file: file.write_text("epoch,step\n0,1\nx"), MORE, ["metrics.csv", "damaged"]),
]


@pytest.mark.parametrize(("file", "change", "command", "words"), DAMAGED)
def test_damage_is_named(file: str, change: Change, command: str, words: list[str], run: Path, door: Door) -> None:
    change(run / file)
    before = contents(run / "checkpoints")
    told = door(*command.split(), expect=2).stderr
    assert (told.count("error: "), "Traceback" in told) == (1, False)
    assert [word for word in words if word not in told] == []
    assert contents(run / "checkpoints") == before


def test_what_cannot_be_done_with_them(run: Path, refused: Refused) -> None:
    for command, *words in (
        ("evaluate.py run=nowhere", "nowhere"),
        ("evaluate.py", "run=FOLDER"),
        ("train.py resume=sweep", "sweep", "jobs"),
        (f"{EVALUATE} data.eval_batchsize=3", "data.eval_batchsize", "data.eval_batch_size?"),
        (f"{EVALUATE} data=kaggle_cifar10", "data.in_channels=3", "1"),
        ("predict.py run=run images=nowhere", "images=nowhere"),
        ("train.py resume=run", "1 epochs", "trainer.max_epochs=MORE"),
        ("train.py resume=run schedule=cosine", "keeps its schedule"),
        (f"{MORE} optimizer.lr=9", "optimizer.lr", "0.1", "9"),
        (f"{MORE} trainer.strategy=dpp", "dpp"),
        (f"{EVALUATE} trainer.limit_test_batches=0", "trainer.limit_test_batches"),
        ("train.py debug=fast hydra.run.dir=run", "run", "resume="),
        ("train.py -m seed=0,1 hydra.sweep.dir=sweep", "sweep", "sweep.resume="),
        ("train.py -m seed=0,1 hydra.run.dir=x", "hydra.sweep.dir=FOLDER"),
        ("train.py -m seed=0,1 hydra.sweep.dir=run", "run is the folder of a run"),
        ("train.py debug=fast hydra.run.dir=sweep", "sweep is the folder of a sweep"),
        (f"{MORE} callbacks.checkpoint.monitor=val/loss callbacks.checkpoint.mode=min", "monitor was val/acc"),
        (f"{EVALUATE} average_flips=no", "average_flips", "boolean"),
    ):
        refused(command, *words)


def test_what_a_resumed_run_can_do_without_and_halves_that_a_killed_one_has_left(run: Path, door: Door) -> None:
    for missing in ("run.json", "metrics.csv", OVERRIDES, "train.log", BEST):
        (run / missing).unlink()
    (run / "checkpoints" / ".last.tmp").hardlink_to(run / LAST)
    (run / ".metrics.csv.123.tmp").write_text("ha")
    door(*MORE.split(), "data.eval_batch_size=50")
    assert metrics(run)["epochs"] == 2
    assert (run / OVERRIDES).read_text() == "- trainer.max_epochs=2\n- data.eval_batch_size=50\n"
    assert not list(run.rglob("*.tmp"))


def test_a_run_killed_before_its_first_last_checkpoint_starts_over(run: Path, door: Door, refused: Refused) -> None:
    job = run.parent / "sweep" / "seed@1"
    for folder in (run, job):
        (folder / LAST).rename(folder / "checkpoints" / ".last.tmp")
        (folder / "checkpoints" / ".last.tmp").write_bytes(b"")
        (folder / "metrics.json").unlink()
    door("train.py", *QUICK, "hydra.run.dir=run", SLURM_RESTART_COUNT="1")  # as SLURM's queue starts it again
    door("train.py", "-m", "sweep.resume=sweep")
    assert [metrics(folder)["epochs"] for folder in (run, job)] == [1, 1]
    cut(job / "metrics.json")
    refused("train.py -m sweep.resume=sweep", "metrics.json is damaged", "No job was started")
    (job / "run.json").write_text("")
    (job / "metrics.json").unlink()
    told = door("train.py", "-m", "sweep.resume=sweep", expect=1).stderr
    assert ("1 of 2 jobs" in told, "  damaged  " in told, "Traceback" in told) == (True, True, False)
    (run / LAST).unlink()
    (run / "metrics.json").unlink()
    (run / "metrics.csv").write_text("epoch,step\n0,1\n1,2\n")
    refused("train.py resume=run", LAST, "another folder")
    door("train.py", *QUICK, "hydra.run.dir=run", SLURM_RESTART_COUNT="2")
    refused("train.py debug=fast", "add hydra.run.dir=FOLDER", SLURM_RESTART_COUNT="1")


def test_an_evaluation_needs_only_configuration_and_checkpoint_wherever_they_are(run: Path, door: Door) -> None:
    shown = door(*EVALUATE.split()).stdout
    assert re.search(r"test +\d\.\d+ +0\.\d+", shown)
    for path in run.iterdir():
        if path.name not in (".hydra", "checkpoints"):
            path.unlink()
    run.rename(run.parent / "elsewhere")
    before = contents(run.parent)
    assert door("evaluate.py", "run=elsewhere").stdout == shown.replace("run/", "elsewhere/")
    assert contents(run.parent) == before
