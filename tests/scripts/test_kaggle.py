"""From the competition's archive to a submission, with the documented commands."""

import csv
import os
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import py7zr
import pytest
import torch
from conftest import Door, Doors
from PIL import Image

from imgclf.images.kaggle import CLASSES

TRAIN, TEST = 60, 23
FAST = ("data.dir=data/cifar-10", "data.batch_size=16", "model=mlp", "trainer.max_epochs=3", "optimizer.lr=0.001")


def png(colour: tuple[int, int, int]) -> bytes:
    file = BytesIO()
    Image.new("RGB", (32, 32), colour).save(file, format="PNG")
    return file.getvalue()


def colour_of(label: int) -> tuple[int, int, int]:
    """A colour a class, so that what belongs to an id can be told from the submission."""
    return (25 * label, 255 - 25 * label, 128 if label % 2 else 0)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of the competition's form; test image i is of class (7 i) mod 10."""
    folder = tmp_path_factory.mktemp("archive")
    for part, count, factor in (("train", TRAIN, 1), ("test", TEST, 7)):
        with py7zr.SevenZipFile(folder / f"{part}.7z", "w") as out:
            for i in range(1, count + 1):
                out.writestr(png(colour_of(factor * i % 10)), f"{part}/{i}.png")
    lines = [f"{i},{CLASSES[i % 10]}" for i in range(1, TRAIN + 1)]
    (folder / "trainLabels.csv").write_text("\n".join(["id,label", *lines]) + "\n")
    # Not in rising order: what is predicted must be matched by name.
    order = np.random.default_rng(0).permutation(np.arange(1, TEST + 1)).tolist()
    (folder / "sampleSubmission.csv").write_text("\n".join(["id,label", *(f"{i},cat" for i in order)]) + "\n")
    whole = folder / "cifar-10.zip"
    with zipfile.ZipFile(whole, "w") as out:
        for name in ("train.7z", "test.7z", "trainLabels.csv", "sampleSubmission.csv"):
            out.write(folder / name, name)
    return whole


def rows(file: Path) -> list[list[str]]:
    with file.open(newline="") as stream:
        return list(csv.reader(stream))


@pytest.fixture(scope="module")
def trained(archive: Path, tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Path:
    """A folder in which the data were prepared and a network was trained on all of them."""
    folder = tmp_path_factory.mktemp("competition")
    run = doors(folder)
    run("prepare_kaggle.py", f"archive={archive}", "dir=data/cifar-10")
    settings = (*FAST, "data.augment=none", "trainer.max_epochs=100", "optimizer=adamw", "optimizer.lr=0.001")
    run("train.py", "data=kaggle_cifar10", *settings, "retrain_on_all=true", "hydra.run.dir=run")
    return folder


def test_each_id_is_answered_once_in_order_and_with_its_own_image(trained: Path, archive: Path, door: Door) -> None:
    done = door(
        "predict.py", f"run={trained / 'run'}", f"data.dir={trained / 'data' / 'cifar-10'}", "probabilities=true"
    )
    assert f"{TEST} images classified" in done.stdout
    answer = rows(trained / "run" / "submission.csv")
    with zipfile.ZipFile(archive) as packed:
        asked = [line.split(",")[0] for line in packed.read("sampleSubmission.csv").decode().split()]
    assert [number for number, _ in answer] == asked
    assert answer[0] == ["id", "label"]
    right = [label == CLASSES[7 * int(number) % 10] for number, label in answer[1:]]
    assert sum(right) == TEST, "the network tells ten colours apart, so every pair of id and label must be right"
    probabilities = np.load(trained / "run" / "probabilities.npy", allow_pickle=False)
    assert probabilities.shape == (TEST, 10)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert [CLASSES[i] for i in probabilities.argmax(axis=1)] == [label for _, label in answer[1:]]


def test_several_processes_give_the_same_answer(trained: Path, door: Door) -> None:
    data = f"data.dir={trained / 'data' / 'cifar-10'}"
    door("predict.py", f"run={trained / 'run'}", data)
    alone = (trained / "run" / "submission.csv").read_text()
    door("predict.py", f"run={trained / 'run'}", data, "trainer=ddp_cpu", "data.eval_batch_size=5")
    assert (trained / "run" / "submission.csv").read_text() == alone


def test_a_run_that_validates_and_one_on_all_images(trained: Path, door: Door, tmp_path: Path) -> None:
    data = f"data.dir={trained / 'data' / 'cifar-10'}"
    for augment in ("chapter", "pad_crop_flip"):
        done = door(
            "train.py", "data=kaggle_cifar10", *FAST, data, f"data.augment={augment}", f"hydra.run.dir={augment}"
        )
        assert "val acc" in done.stderr
        assert "test" not in done.stdout.split("run folder")[0], "there are no test labels"
    done = door("train.py", "data=kaggle_cifar10", *FAST, data, "retrain_on_all=true", "hydra.run.dir=all")
    assert "val acc" not in done.stderr
    assert "Warning" not in done.stderr


def test_an_augmented_run_is_resumed_to_the_same_weights(trained: Path, door: Door, tmp_path: Path) -> None:
    settings = ("data=kaggle_cifar10", *FAST, f"data.dir={trained / 'data' / 'cifar-10'}", "data.augment=chapter")
    door("train.py", *settings, "trainer.max_epochs=4", "hydra.run.dir=whole")
    door("train.py", *settings, "trainer.max_epochs=2", "hydra.run.dir=parts")
    door("train.py", "resume=parts", "trainer.max_epochs=4")
    whole, parts = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("whole", "parts")
    )
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_run_on_other_data_and_missing_data_are_told_apart(door: Door, tmp_path: Path) -> None:
    door("train.py", "debug=fast", "hydra.run.dir=run")
    assert "has no unlabelled images" in door("predict.py", "run=run", expect=2).stderr
    done = door("train.py", "data=kaggle_cifar10", "model=mlp", expect=2)
    assert "https://www.kaggle.com/c/cifar-10" in done.stderr
    assert "kaggle competitions download -c cifar-10" in done.stderr


def test_the_small_competition(door: Door, tmp_path: Path) -> None:
    if "IMGCLF_TEST_DATA" not in os.environ:
        pytest.skip("IMGCLF_TEST_DATA names no folder with cifar-10.zip")
    archive = Path(os.environ["IMGCLF_TEST_DATA"]).absolute() / "cifar-10.zip"
    done = door("prepare_kaggle.py", f"archive={archive}", "dir=data/cifar-10", "tree=true")
    assert "5,000 training images" in done.stdout
    assert "1,000 test images" in done.stdout
    door("train.py", "experiment=kaggle_cifar10_small", "debug=fast", "data.batch_size=32", "hydra.run.dir=run")
    door("predict.py", "run=run")
    assert len(rows(tmp_path / "run" / "submission.csv")) == 1001
