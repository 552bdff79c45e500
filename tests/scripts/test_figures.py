"""scripts/figures.py as a user runs it."""

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Door
from hydra.core.singleton import Singleton
from PIL import Image

from imgclf.cli import compose
from imgclf.errors import InputError

Drawn = Callable[..., list[list[str]]]


@pytest.fixture
def drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Drawn]:
    """Compose and draw in this process, which spares starting one; the table, as words, without its head."""
    from imgclf.figures.task import figures

    def draw(*overrides: str) -> list[list[str]]:
        figures(compose([*overrides, f"hydra.run.dir={tmp_path}"], "figures"))
        table = capsys.readouterr().out.split("\nwritten:")[0]
        return [line.split() for line in table.splitlines()[1:]]

    before = Singleton.get_state()  # what is offered of a run's folder is for this test alone
    yield draw
    Singleton.set_state(before)


def is_picture(file: Path) -> bool:
    pixels = np.asarray(Image.open(file).convert("RGB"))
    return pixels.shape[1] == 1200 and bool(pixels.std() > 5)


def test_what_was_drawn_is_said_and_is_there(door: Door, tmp_path: Path) -> None:
    said = door("figures.py", "figure=activations").stdout
    assert re.search(r"^sigmoid +0\.5 +0\.25 +0\.25$", said, re.MULTILINE)
    assert re.search(r"^tanh +0 +1 +1$", said, re.MULTILINE)
    assert re.search(r"^relu +0 +0 +1$", said, re.MULTILINE)
    assert said.endswith("written:\n  " + str(tmp_path / "logs/figures/activations/activations.png") + "\n")
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()] == [
        "logs/figures/activations/activations.png"
    ]
    assert is_picture(tmp_path / "logs/figures/activations/activations.png")


def test_activations_can_be_chosen(drawn: Drawn) -> None:
    assert [row[0] for row in drawn("figure=activations", "figure.names=[tanh,relu]")] == ["tanh", "relu"]
    with pytest.raises(InputError, match=r"figure\.names must be some of relu, .*, got \['swish'\]"):
        drawn("figure=activations", "figure.names=[relu,swish]")
    with pytest.raises(InputError, match=r"figure\.step=0\.0: give"):
        drawn("figure=activations", "figure.step=0.0")


def test_the_chapters_schedules(drawn: Drawn, tmp_path: Path) -> None:
    rows = drawn("figure=schedules", "figure.table_every=1")
    rates = {" ".join(row[:-30]): [float(rate) for rate in row[-30:]] for row in rows}
    assert rates["constant, plain"] == [0.3] * 30
    warm = rates["constant, after a warm-up"]
    assert warm[:6] == pytest.approx([0, 0.06, 0.12, 0.18, 0.24, 0.3])
    assert rates["square_root, plain"][15] == pytest.approx(0.025)  # 0.1 / √16
    assert rates["square_root, plain"][24] == pytest.approx(0.02)  # 0.1 / √25
    assert rates["factor, plain"][:3] == pytest.approx([2.0, 1.8, 1.62])
    assert rates["multi_step, plain"][14:16] == pytest.approx([0.5, 0.25])
    assert rates["multi_step, after a warm-up"][14:16] == pytest.approx([0.5, 0.25])
    assert rates["step, plain"][3:5] == pytest.approx([0.1, 0.09])
    assert rates["cosine, plain"][10] == pytest.approx(0.155)  # half way from 0.3 to 0.01
    assert rates["cosine, plain"][20:] == pytest.approx([0.01] * 10)
    assert rates["cosine, after a warm-up"][5] == pytest.approx(0.3)
    assert rates["cosine, after a warm-up"][20] == pytest.approx(0.01)
    assert rates["polynomial, plain"][15] == pytest.approx(0.075)  # 0.3 (1 - 15/30)²
    assert is_picture(tmp_path / "schedules.png")


def test_every_schedule_there_is_has_its_panel(drawn: Drawn) -> None:
    rows = drawn("figure=schedules", "figure.warmup_updates=0", "figure.updates=10")
    assert sorted(row[0].rstrip(",") for row in rows) == sorted(f.stem for f in (ROOT / "conf/schedule").glob("*.yaml"))


def test_a_schedule_of_ones_own(drawn: Drawn, tmp_path: Path) -> None:
    own = ["schedule=cosine", "schedule.warmup_updates=2", "schedule.final_fraction=0.0", "optimizer.lr=0.4"]
    assert drawn("figure=schedules", "figure.updates=6", "figure.table_every=1", *own) == [
        ["Cosine", "0", "0.2", "0.4", "0.3414", "0.2", "0.05858"]
    ]
    assert is_picture(tmp_path / "cosine.png")


def test_bad_schedules_are_refused_by_the_name_of_their_key(drawn: Drawn) -> None:
    with pytest.raises(InputError, match=r"figure\.curves\.multi_step: schedule\.milestones=\[3, 9\].*warm-up"):
        drawn("figure=schedules", "figure.curves.multi_step.schedule.milestones=[3,9]")
    with pytest.raises(InputError, match=r"figure\.updates must be at least 1, got 0"):
        drawn("figure=schedules", "figure.updates=0")


def test_the_shapes_of_googlenet(drawn: Drawn, tmp_path: Path) -> None:
    # No folder has the images, so that they could only be had from the network.
    nowhere = f"data.dir={tmp_path / 'nowhere'}", "data.system_dir=null", "data.download=false"
    rows = drawn("figure=shapes", "model=googlenet", "data=fashion_mnist", "data.resize=96", *nowhere)
    found = {row[0]: " ".join(row[1:-2]) for row in rows}
    assert {name: found[name] for name in ("b1", "b2", "b3", "b4", "b5", "linear")} == {
        "b1": "64 x 24 x 24",
        "b2": "192 x 12 x 12",
        "b3": "480 x 6 x 6",
        "b4": "832 x 3 x 3",
        "b5": "1024",
        "linear": "10",
    }
    assert rows[-1][2] == "5,977,530"
    assert is_picture(tmp_path / "googlenet_1x96x96.png")


def test_shapes_of_any_model_and_data(drawn: Drawn, tmp_path: Path) -> None:
    assert drawn("figure=shapes", "model=mlp", "data=kaggle_cifar10") == [
        ["input", "3", "x", "32", "x", "32"],
        ["0", "Flatten", "3072", "0", "0"],
        ["1", "Linear", "256", "786,688", "786,432"],  # 3072 x 256, and 256 biases
        ["2", "ReLU", "256", "0", "0"],
        ["3", "Linear", "10", "2,570", "2,560"],
        ["in", "all", "789,258", "788,992"],
    ]
    assert is_picture(tmp_path / "mlp_3x32x32.png")
    rows = drawn("figure=shapes", "figure.depth=1", "model=alexnet", "data.resize=224")
    assert [row[0] for row in rows] == ["input", "features", "avgpool", "classifier", "in"]
    assert is_picture(tmp_path / "alexnet_1x224x224.png")


def test_a_network_whose_constructor_computes_with_tensors(drawn: Drawn) -> None:
    options = "model=torchvision", "model.net.name=regnet_x_400mf", "data.in_channels=3", "data.num_classes=1000"
    rows = drawn("figure=shapes", "figure.depth=1", "data.resize=64", *options)
    assert rows[-1][:3] == ["in", "all", "5,495,976"]  # as torchvision publishes


def test_too_small_an_image_is_refused_with_the_size_that_would_do(drawn: Drawn) -> None:
    with pytest.raises(InputError, match=r"NiN cannot take images of 1x28x28 .* the smallest that fits is 67"):
        drawn("figure=shapes", "model=nin", "data=fashion_mnist")


def test_costs_of_the_chapters_networks(drawn: Drawn, tmp_path: Path) -> None:
    rows = {row[0]: row[1:] for row in drawn("figure=costs")}
    assert rows["alexnet"][0] == "61,100,840"
    assert rows["vgg11"][0] == "132,863,336"
    assert [float(rows[name][3]) for name in ("alexnet", "vgg11")] == pytest.approx([0.714, 7.609], abs=1e-3)
    # As torchvision's of 11,689,512, less BN on the three shortcuts: 2 x (128 + 256 + 512)
    assert rows["resnet18"][0] == "11,687,720"
    assert float(rows["resnet18"][3]) == pytest.approx(1.814, abs=1e-3)
    with (tmp_path / "costs.csv").open() as file:
        table = {row["network"]: int(row["parameters"]) for row in csv.DictReader(file)}
    assert {name: f"{count:,}" for name, count in table.items()} == {name: row[0] for name, row in rows.items()}
    assert is_picture(tmp_path / "costs.png")


def test_costs_of_other_networks_and_images(drawn: Drawn) -> None:
    less = [f"~figure.networks.{name}" for name in ("alexnet", "vgg11", "nin", "resnet18")]
    rows = drawn("figure=costs", "data.in_channels=1", "data.resize=96", "data.num_classes=10", *less,
                 "+model@figure.networks.lenet=lenet")  # fmt: skip
    assert [row[:2] for row in rows] == [["googlenet", "5,977,530"], ["lenet", "942,986"]]


@pytest.fixture
def trained(door: Door, tmp_path: Path) -> Path:
    door("train.py", "debug=fast", "model=lenet", "hydra.run.dir=run", "test=false", "logger=none")
    return tmp_path / "run"


def test_features_of_a_run(door: Door, drawn: Drawn, tmp_path: Path, trained: Path) -> None:
    said = door("figures.py", "figure=features", "run=run", "figure.images=[3,0,7]", "figure.split=test").stdout
    assert re.findall(r"^test image (\d+): .+, classified as .+ 0\.\d\d$", said, re.MULTILINE) == ["3", "0", "7"]
    for name in ("filters.png", "feature_maps.png"):
        assert is_picture(tmp_path / "logs/figures/features" / name)

    run = "figure=features", f"run={trained}"
    with pytest.raises(InputError, match=r"figure\.images=\[1000\]: the validation images have the numbers 0 to 999"):
        drawn(*run, "figure.images=[1000]")
    with pytest.raises(InputError, match="has no part 'b1'; it has conv1, conv2"):
        drawn(*run, "figure.stages=[b1]")
    with pytest.raises(InputError, match="checkpoint=worst"):
        drawn(*run, "checkpoint=worst")
    (trained / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(InputError, match=r"there is no .*best\.ckpt: train first"):
        drawn(*run)


def test_typos_are_answered_with_the_nearest_right_thing(door: Door) -> None:
    def refused(*arguments: str) -> str:
        done = door("figures.py", *arguments, expect=2)
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "figure=activations" in refused("figure=activation")
    assert "figure.step?" in refused("figure=activations", "figure.stepp=1")
    assert "figure.step=x: " in refused("figure=activations", "figure.step=x")
    assert "figure.depth=[1]: " in refused("figure=shapes", "figure.depth=[1]")
    assert "figure" in refused()
    assert "there is no folder nowhere" in refused("figure=features", "run=nowhere")
    assert "add run=FOLDER" in refused("figure=features")


def test_numbers_that_make_no_figure_are_refused(door: Door) -> None:
    none = " ".join(f"~figure.networks.{name}" for name in ("alexnet", "vgg11", "nin", "googlenet", "resnet18"))
    cases = {
        "figure=shapes figure.depth=0": "figure.depth must be at least 1, got 0",
        f"figure=costs {none}": "figure.networks is empty: add one with",
        "figure=features run=nowhere": "there is no folder nowhere",
    }
    for given, message in cases.items():
        assert message in door("figures.py", *given.split(), expect=2).stderr


def test_help(door: Door) -> None:
    said = door("figures.py", "--help").stdout
    assert re.search(r"^figure: activations, costs, features, schedules, shapes$", said, re.MULTILINE)
    assert said.count("  uv run scripts/figures.py") >= 5
