"""Run folders of which a piece is missing, half-written, or of another version; and the wrong kind of folder."""

import json
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from refused import Case, contents, nothing, refuse, run_here

Given = Callable[[Path], object]
CONFIG, OVERRIDES = "run/.hydra/config.yaml", "run/.hydra/overrides.yaml"
BEST, LAST = "run/checkpoints/best.ckpt", "run/checkpoints/last.ckpt"
MORE = "train.py resume=run trainer.max_epochs=2"

_trained: Path


@pytest.fixture(scope="module", autouse=True)
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A finished run of one epoch, and a sweep of two."""
    global _trained
    _trained = tmp_path_factory.mktemp("trained")
    quick = "debug=fast test=false model.hidden_sizes=[8]"
    for command in (
        f"train.py {quick} hydra.run.dir={_trained}/run",
        f"train.py -m {quick} seed=0,1 hydra.sweep.dir={_trained}/sweep sweep.report=false",
    ):
        answer = run_here(command)
        assert answer.code == 0, answer.err
    with warnings.catch_warnings():
        yield


def whole(folder: Path) -> None:
    shutil.copytree(_trained / "run", folder / "run")
    shutil.copytree(_trained / "sweep", folder / "sweep")


def without(*names: str) -> Given:
    def given(folder: Path) -> None:
        whole(folder)
        for name in names:
            (folder / name).unlink()

    return given


def cut(name: str, share: float = 0.5) -> Given:
    def given(folder: Path) -> None:
        whole(folder)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return given


def instead(name: str, content: bytes | str) -> Given:
    def given(folder: Path) -> None:
        whole(folder)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return given


def replaced(name: str, old: str, new: str) -> Given:
    def given(folder: Path) -> None:
        whole(folder)
        text = (folder / name).read_text()
        assert re.search(old, text, re.MULTILINE)
        (folder / name).write_text(re.sub(old, new, text, flags=re.MULTILINE))

    return given


def checkpoint(name: str, change: Callable[[dict[str, Any]], object]) -> Given:
    def given(folder: Path) -> None:
        whole(folder)
        content = torch.load(folder / name, weights_only=True)
        change(content)
        torch.save(content, folder / name)

    return given


def other_layers(content: dict[str, Any]) -> None:
    content["state_dict"] = {f"layers.{name}": tensor for name, tensor in content["state_dict"].items()}


def other_sizes(content: dict[str, Any]) -> None:
    content["state_dict"] = {name: torch.cat([tensor, tensor]) for name, tensor in content["state_dict"].items()}


def no_numbers(content: dict[str, Any]) -> None:
    next(iter(content["state_dict"].values())).fill_(float("nan"))


def unfinished(given: Given) -> Given:
    """As if the run had been killed before its end."""

    def both(folder: Path) -> None:
        given(folder)
        (folder / "run" / "metrics.json").unlink()

    return both


def a_file(folder: Path) -> None:
    (folder / "run").write_text("mine")


EVALUATE = "evaluate.py run=run"
# Found when the run has been taken up: run.json says so then.
BEGUN = ("resume, last cut", "resume, other", "resume, weights", "resume, table", "resume, overrides", "resume killed")
CASES = [
    Case("no folder", nothing, EVALUATE, "there is no folder run: give the run folder that training named"),
    Case("a file", a_file, EVALUATE, "there is no folder run"),
    Case(
        "a sweep",
        whole,
        "evaluate.py run=sweep",
        "sweep is the folder of a sweep: give that of one of its jobs",
    ),
    Case(
        "a sweep resumed as a run", whole, "train.py resume=sweep", "sweep is the folder of a sweep: give that of one"
    ),
    Case("a run resumed as a sweep", whole, "train.py -m sweep.resume=run", "run is no folder of a sweep"),
    Case("no sweep", nothing, "train.py -m sweep.resume=nope", "nope is no folder of a sweep"),
    Case("sweep.json cut", cut("sweep/sweep.json"), "train.py -m sweep.resume=sweep", r"sweep\.json is damaged"),
    Case("config missing", without(CONFIG), EVALUATE, r"run is no run folder: it lacks \.hydra/config\.yaml"),
    Case(
        "config empty",
        instead(CONFIG, ""),
        EVALUATE,
        r"config\.yaml is damaged \(no keys in it\): restore it, or train",
    ),
    Case("config cut", instead(CONFIG, "model: {a: ["), EVALUATE, r"config\.yaml is damaged .*restore it"),
    Case("config no text", instead(CONFIG, b"\xff\xfe\0"), EVALUATE, r"config\.yaml is damaged .*restore it"),
    Case("config a list", instead(CONFIG, "- a\n"), EVALUATE, r"config\.yaml is damaged \(no keys in it\)"),
    Case(
        "config without data", instead(CONFIG, "seed: 0\n"), EVALUATE, r"config\.yaml lacks data, model, .*restore it"
    ),
    Case(
        "older key",
        replaced(CONFIG, "^  dropout:", "  drop_rate:"),
        EVALUATE,
        r"config\.yaml: .*'drop_rate'.*another v",
    ),
    Case(
        "older data key", replaced(CONFIG, "^  resize:", "  size:"), EVALUATE, "data.size=28: .*has no parameter 'size'"
    ),
    Case(
        "class gone", replaced(CONFIG, r"mlp\.MLP", "mlp.Perceptron"), EVALUATE, "Perceptron.*another version of this"
    ),
    Case("seed no number", replaced(CONFIG, "^seed: 0", "seed: zero"), EVALUATE, "seed=zero: .*integer"),
    Case(
        "best missing", without(BEST), EVALUATE, r"there is no run/checkpoints/best\.ckpt: train first, or choose anoth"
    ),
    Case("last missing", without(LAST), f"{EVALUATE} checkpoint=last", r"there is no run/checkpoints/last\.ckpt"),
    Case("best cut", cut(BEST), EVALUATE, r"best\.ckpt cannot be read as a checkpoint .*restore it or train again"),
    Case("best empty", instead(BEST, b""), EVALUATE, r"best\.ckpt cannot be read as a checkpoint"),
    Case("best a text", instead(BEST, "hello"), EVALUATE, r"best\.ckpt cannot be read as a checkpoint"),
    Case("other layers", checkpoint(BEST, other_layers), EVALUATE, r"best\.ckpt holds other weights than MLP has"),
    Case("other sizes", checkpoint(BEST, other_sizes), EVALUATE, r"best\.ckpt holds other weights than MLP has"),
    Case("weights no numbers", checkpoint(BEST, no_numbers), EVALUATE, r"best\.ckpt holds weights that are no numbers"),
    Case("no state", checkpoint(BEST, lambda c: c.pop("state_dict")), EVALUATE, "holds other weights than MLP has"),
    Case("no such checkpoint", whole, f"{EVALUATE} checkpoint=worst", "checkpoint=worst: .*'best' or 'last'"),
    Case(
        "other images", whole, f"{EVALUATE} data=kaggle_cifar10", "data.in_channels=3, but the network was built for 1"
    ),
    Case(
        "other size", whole, f"{EVALUATE} data.resize=32", "data.resize=32, but the network was built for 28: give data"
    ),
    Case(
        "nothing to predict",
        whole,
        "predict.py run=run",
        "FashionMNISTMini has no unlabelled images: give some by images=",
    ),
    Case(
        "predict with other", whole, "predict.py run=run data=kaggle_cifar10", "data.in_channels=3, but the network was"
    ),
    Case("features of no run", nothing, "figures.py figure=features run=run", "there is no folder run"),
    Case("features, best cut", cut(BEST), "figures.py figure=features run=run", r"best\.ckpt cannot be read"),
    Case("resume finished", whole, "train.py resume=run", "is finished after 1 epochs.*add trainer.max_epochs=MORE"),
    Case("resume changed", whole, f"{MORE} optimizer.lr=9", "but optimizer.lr was 0.1, is 9: leave that out"),
    Case("resume, config cut", cut(CONFIG, 0.1), MORE, r"config\.yaml (lacks|is damaged)"),
    Case("resume, run.json cut", cut("run/run.json"), MORE, r"run\.json is damaged .*restore it"),
    Case("resume, metrics.json cut", cut("run/metrics.json"), MORE, r"metrics\.json is damaged"),
    Case("resume, last cut", cut(LAST), MORE, r"last\.ckpt cannot be read as a checkpoint"),
    Case("resume, last missing", without(LAST), MORE, r"there is no .*last\.ckpt to continue from.*restore it"),
    Case("resume, other layers", checkpoint(LAST, other_layers), MORE, r"last\.ckpt holds other weights than MLP has"),
    Case(
        "resume, weights alone",
        checkpoint(LAST, lambda c: c.pop("loops")),
        MORE,
        "cannot be continued from, it lacks l",
    ),
    Case("resume, table cut", instead("run/metrics.csv", "epoch,step\n0,1\nx"), MORE, r"metrics\.csv is damaged"),
    Case(
        "resume, overrides cut", instead(OVERRIDES, "- 'a"), MORE, r"overrides\.yaml is damaged .*restore or remove it"
    ),
    Case("resume killed, last cut", unfinished(cut(LAST)), "train.py resume=run", r"last\.ckpt cannot be read"),
    Case("report of nothing", nothing, "report.py sweep=run", "there is no folder run: give a folder of runs"),
    Case("report of no run", lambda folder: (folder / "run").mkdir(), "report.py sweep=run", "there is no run in run"),
    Case("report into a file", lambda f: (whole(f), (f / "out").touch()), "report.py sweep=sweep out=out", "out"),
    Case("diff of one", whole, "report.py diff=run", r"diff=run: "),
    Case("diff of a sweep", whole, "report.py diff=[run,sweep]", "sweep"),
    Case("no run given", nothing, "evaluate.py", "run: must be given; add run=FOLDER"),
    Case(
        "occupied", whole, "train.py debug=fast hydra.run.dir=run", "run holds a run already: continue it with resume="
    ),
    Case(
        "occupied by a sweep", whole, "train.py -m seed=0,1 hydra.sweep.dir=sweep", "sweep holds a sweep already: go on"
    ),
]


@pytest.mark.parametrize("case", [c for c in CASES if not c.id.startswith(BEGUN)], ids=lambda case: case.id)
def test_run_folders(case: Case, here: Path) -> None:
    refuse(case, here)


@pytest.mark.parametrize("case", [c for c in CASES if c.id.startswith(BEGUN)], ids=lambda case: case.id)
def test_what_shows_when_a_run_goes_on_leaves_its_checkpoints(case: Case, here: Path) -> None:
    case.given(here)
    before = contents(here / "run" / "checkpoints")
    answer = run_here(case.command)
    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.err
    assert re.search(case.message, answer.err, re.DOTALL), answer.err
    assert contents(here / "run" / "checkpoints") == before


@pytest.mark.parametrize("missing", ["run/run.json", "run/metrics.csv", OVERRIDES, "run/train.log", BEST])
def test_what_a_resumed_run_can_do_without(here: Path, missing: str) -> None:
    without(missing)(here)
    answer = run_here(MORE)
    assert answer.code == 0, answer.err
    assert json.loads((here / "run" / "metrics.json").read_text())["epochs"] == 2


def test_an_evaluation_needs_only_configuration_and_checkpoint(here: Path) -> None:
    whole(here)
    for path in (here / "run").iterdir():
        if path.name not in (".hydra", "checkpoints"):
            path.unlink()
    before = contents(here)
    answer = run_here(EVALUATE)
    assert answer.code == 0, answer.err
    assert contents(here) == before


@pytest.mark.parametrize(
    ("command", "seed"),
    [
        ("evaluate.py run=run data=fashion_mnist_mini", 0),
        ("evaluate.py run=run data=fashion_mnist_mini seed=5", 5),
        ("figures.py figure=features run=conv data=fashion_mnist_mini figure.images=[3]", 3),
    ],
)
def test_other_data_take_the_seed_of_the_run(here: Path, command: str, seed: int) -> None:
    whole(here)
    if "conv" in command:
        answer = run_here("train.py debug=fast test=false logger=none model=lenet seed=3 hydra.run.dir=conv")
        assert answer.code == 0, answer.err
    answer = run_here(command)
    assert answer.code == 0, answer.err
    shown = run_here(f"{command} --cfg job").out
    assert re.search(rf"^seed: {seed}$", shown, re.MULTILINE)
    assert "  seed: ${seed}" in shown


def test_other_pixels_are_warned_of(here: Path) -> None:
    whole(here)
    answer = run_here(f"{EVALUATE} data.mean=[0.5]")
    assert answer.code == 0, answer.err
    assert "data.mean=[0.5], but the network was trained with [0.286]" in answer.err


def test_a_report_goes_on_without_what_is_damaged(here: Path) -> None:
    whole(here)
    (here / "sweep" / "seed@0" / "metrics.json").write_text('{"val/acc": 0.')
    (here / "sweep" / "seed@0" / "run.json").unlink()
    answer = run_here("report.py sweep=sweep")
    assert answer.code == 0, answer.err
    assert re.search(r"seed@0 +damaged", answer.out, re.MULTILINE), answer.out
