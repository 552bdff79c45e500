"""Run folders of which a piece is missing, half-written, or of another version; and the wrong kind of folder."""

import json
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
Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Path:
    """A finished run of one epoch, and a sweep of two."""
    folder = tmp_path_factory.mktemp("trained")
    quick = ("debug=fast", "test=false", "model.hidden_sizes=[8]")
    doors(folder)("train.py", *quick, "hydra.run.dir=run")
    doors(folder)("train.py", "-m", *quick, "seed=0,1", "hydra.sweep.dir=sweep", "sweep.report=false")
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of them in the working directory."""
    shutil.copytree(trained / "sweep", tmp_path / "sweep")
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


def cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def without(file: Path) -> None:
    file.unlink()


def text(content: str) -> Change:
    return lambda file: file.write_text(content)


def replaced(old: str, new: str) -> Change:
    def change(file: Path) -> None:
        before = file.read_text()
        assert re.search(old, before, re.MULTILINE)
        file.write_text(re.sub(old, new, before, flags=re.MULTILINE))

    return change


def checkpoint(change: Callable[[dict[str, Any]], object]) -> Change:
    def changed(file: Path) -> None:
        content = torch.load(file, weights_only=True)
        change(content)
        torch.save(content, file)

    return changed


OTHER_LAYERS = checkpoint(lambda c: c.update(state_dict={f"x.{k}": v for k, v in c["state_dict"].items()}))
NO_NUMBERS = checkpoint(lambda c: next(iter(c["state_dict"].values())).fill_(float("nan")))


@pytest.mark.parametrize(
    ("file", "change", "command", "words"),
    [
        (CONFIG, without, EVALUATE, ["run", CONFIG]),
        (CONFIG, text(""), EVALUATE, [CONFIG, "damaged"]),
        (CONFIG, text("model: {a: ["), EVALUATE, [CONFIG, "damaged"]),
        (CONFIG, text("seed: 0\n"), EVALUATE, [CONFIG, "data, model"]),
        (CONFIG, replaced("^  dropout:", "  drop_rate:"), EVALUATE, [CONFIG, "'drop_rate'", "version"]),
        (CONFIG, replaced("^seed: 0", "seed: zero"), EVALUATE, ["seed=zero"]),
        (BEST, without, EVALUATE, [f"run/{BEST}"]),
        (LAST, without, f"{EVALUATE} checkpoint=last", [f"run/{LAST}"]),
        (BEST, cut, EVALUATE, [BEST]),
        (BEST, OTHER_LAYERS, EVALUATE, [BEST, "MLP"]),
        (BEST, NO_NUMBERS, EVALUATE, [BEST, "no numbers"]),
        (BEST, cut, "figures.py figure=features run=run", [BEST]),
        ("run.json", cut, MORE, ["run.json", "damaged"]),
        ("metrics.json", cut, MORE, ["metrics.json", "damaged"]),
        (LAST, without, MORE, [LAST, "continue"]),
    ],
)
def test_damaged_files(file: str, change: Change, command: str, words: list[str], run: Path, refused: Refused) -> None:
    change(run / file)
    refused(command, *words)


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        (LAST, cut, [LAST]),
        (LAST, checkpoint(lambda c: c.pop("loops")), [LAST, "loops"]),
        ("metrics.csv", text("epoch,step\n0,1\nx"), ["metrics.csv", "damaged"]),
        (OVERRIDES, text("- 'a"), [OVERRIDES, "damaged"]),
    ],
)
def test_what_shows_when_a_run_goes_on_leaves_its_checkpoints(
    file: str, change: Change, words: list[str], run: Path, door: Door
) -> None:
    change(run / file)
    before = contents(run / "checkpoints")
    told = door(*MORE.split(), expect=2).stderr
    for word in words:
        assert word in told
    assert contents(run / "checkpoints") == before


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("evaluate.py run=nowhere", ["nowhere"]),
        ("evaluate.py run=file", ["file"]),
        ("evaluate.py run=sweep", ["sweep", "jobs"]),
        ("evaluate.py", ["run=FOLDER"]),
        ("train.py resume=sweep", ["sweep", "jobs"]),
        ("train.py -m sweep.resume=run", ["run", "sweep.json"]),
        (f"{EVALUATE} checkpoint=worst", ["checkpoint=worst"]),
        (f"{EVALUATE} data.eval_batchsize=3", ["data.eval_batchsize", "data.eval_batch_size?"]),
        (f"{EVALUATE} data=kaggle_cifar10", ["data.in_channels=3", "1"]),
        (f"{EVALUATE} data.resize=32", ["data.resize=32", "28"]),
        ("predict.py run=run", ["images="]),
        ("predict.py run=run images=nowhere", ["images=nowhere"]),
        ("predict.py run=run images=file", ["file"]),
        ("predict.py run=run images=file sheet=0", ["sheet=0"]),
        ("train.py resume=run", ["1 epochs", "trainer.max_epochs=MORE"]),
        (f"{MORE} optimizer.lr=9", ["optimizer.lr", "0.1", "9"]),
        ("train.py debug=fast hydra.run.dir=run", ["run", "resume="]),
        ("train.py -m seed=0,1 hydra.sweep.dir=sweep", ["sweep", "sweep.resume="]),
        ("report.py sweep=nowhere", ["nowhere"]),
        ("report.py sweep=run/.hydra", ["run/.hydra"]),
        ("report.py sweep=sweep out=file", ["file"]),
        ("report.py diff=[run]", ["diff"]),
        ("report.py", ["sweep", "diff"]),
        ("report.py sweep=sweep sort=acc", ["sort=acc"]),
    ],
)
def test_what_cannot_be_done_with_them(
    command: str, words: list[str], run: Path, refused: Refused, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    refused(command, *words)


@pytest.mark.parametrize("missing", ["run.json", "metrics.csv", OVERRIDES, "train.log", BEST])
def test_what_a_resumed_run_can_do_without(run: Path, door: Door, missing: str) -> None:
    (run / missing).unlink()
    door(*MORE.split())
    assert metrics(run)["epochs"] == 2


def test_an_evaluation_needs_only_configuration_and_checkpoint_wherever_they_are(
    run: Path, door: Door, tmp_path: Path
) -> None:
    shown = door(*EVALUATE.split()).stdout
    assert re.search(r"test +\d\.\d+ +0\.\d+", shown)
    for path in run.iterdir():
        if path.name not in (".hydra", "checkpoints"):
            path.unlink()
    run.rename(tmp_path / "elsewhere")
    before = contents(tmp_path)
    assert door("evaluate.py", "run=elsewhere").stdout == shown.replace("run/", "elsewhere/")
    assert contents(tmp_path) == before


def test_other_data_take_the_seed_of_the_run_and_other_pixels_are_warned_of(run: Path, door: Door) -> None:
    other = ("evaluate.py", "run=run", "data=fashion_mnist_mini")
    for given, seed in (((), 0), (("seed=5",), 5)):
        door(*other, *given)
        assert f"\nseed: {seed}\n" in door(*other, *given, "--cfg", "job").stdout
    told = door(*EVALUATE.split(), "data.mean=[0.5]").stderr
    assert "data.mean=[0.5]" in told
    assert "0.286" in told


def test_a_report_goes_on_without_what_is_damaged(run: Path, door: Door, tmp_path: Path) -> None:
    (tmp_path / "sweep" / "seed@0" / "metrics.json").write_text('{"val/acc": 0.')
    (tmp_path / "sweep" / "seed@0" / "run.json").unlink()
    assert "damaged" in door("report.py", "sweep=sweep").stdout
    assert json.loads((tmp_path / "sweep" / "seed@1" / "metrics.json").read_text())
