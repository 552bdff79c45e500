"""scripts/figures.py as a user runs it: tables worked out by hand or published, and a picture of each."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, Door, Refused
from PIL import Image
from torchvision import models

from imgclf.figures.networks import stages
from imgclf.models.classifier import Classifier


def drawn(door: Door, folder: Path, command: str) -> dict[str, str]:
    """Draw; the lines that were said, without further blanks, by their first word."""
    lines = [line.split() for line in door("figures.py", *command.split()).stdout.splitlines()]
    files = [folder / line[1] for line in lines if line[0] == "written:"]
    assert [np.asarray(Image.open(file).convert("L")).std() > 5 for file in files] == [True]
    return {line[0].rstrip(","): " ".join(line[1:]) for line in lines if line[0] != "written:"}


def test_schedules(door: Door, tmp_path: Path) -> None:
    said = drawn(door, tmp_path, "figure=schedules")
    assert said.keys() == {"learning", *(file.stem for file in (ROOT / "conf/schedule").glob("*.yaml"))} - {"plateau"}
    assert said["learning"] == "rate at update 0 5 10 15 20 25 29"
    assert said["constant"] == "warmed up 0 0.3 0.3 0.3 0.3 0.3 0.3"
    assert said["multi_step"] == "warmed up 0 0.5 0.5 0.25 0.25 0.25 0.25"
    assert said["cosine"] == "warmed up 0 0.3 0.227 0.0825 0.01 0.01 0.01"


def test_shapes_of_any_model_and_data(door: Door, tmp_path: Path) -> None:
    said = drawn(door, tmp_path, "figure=shapes model=googlenet data=fashion_mnist data.resize=96")
    shapes = {"b1": "64 x 24 x 24", "b2": "192 x 12 x 12", "b3": "480 x 6 x 6", "b4": "832 x 3 x 3", "b5": "1024"}
    assert {name: " ".join(said[name].split()[1:-2]) for name in shapes} == shapes
    assert said["in"] == "all Sequential 10 5,977,530 276,066,304"


def test_what_cannot_be_drawn(refused: Refused) -> None:
    for given, word in {
        "figure=activations figure.loww=1": "figure.low?",
        "figure=schedules optimizer.lr=0.3": "without schedule=CHOICE",
        "figure=shapes model=nin": "67",
        "figure=schedules schedule=plateau": "Plateau",
        "figure=lr_range optimizer.head_lr_factor=10": "one rate",
    }.items():
        refused(f"figures.py {given}", word)


def test_a_learning_rate_is_suggested(door: Door, tmp_path: Path) -> None:
    rate = float(re.search(r"optimizer.lr=(\S+)", drawn(door, tmp_path, "figure=lr_range")["suggestion"])[1])  # type: ignore[index]
    assert 0.01 < rate < 0.5, "0.1 is what the chapter found for this network"
    assert [file.name for file in (tmp_path / "logs/figures/lr_range").iterdir()] == ["lr_range.png"]
    large = ("figure.min_lr=1e20", "figure.max_lr=1e25")
    assert "grew at once" in door("figures.py", "figure=lr_range", *large, expect=1).stderr


@pytest.mark.parametrize("name", ["resnet18", "vit_b_16"])
def test_parameters_and_multiplications_are_as_torchvision_publishes(name: str) -> None:
    published = models.get_model_weights(name).IMAGENET1K_V1.meta
    with torch.device("meta"):
        model = Classifier(models.get_model(name), in_channels=3, image_size=224, num_classes=1000)
    (whole,) = stages(model.to("meta"), depth=0)
    assert whole.parameters == published["num_params"]
    assert whole.multiply_adds / 1e9 == pytest.approx(published["_ops"], rel=0.01)
