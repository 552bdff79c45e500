"""From the competition's archive to a submission, with the documented commands."""

import csv
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from conftest import Door, Refused
from made_up import TEST, TRAIN, archive, competition, png, seven_zip, write

import imgclf
from imgclf.build import built
from imgclf.data.kaggle import CLASSES
from imgclf.errors import InputError

FAST = ("data.batch_size=16", "model=mlp", "trainer.max_epochs=3", "optimizer=adamw", "optimizer.lr=0.001")


def rows(file: Path) -> list[list[str]]:
    with file.open(newline="") as stream:
        return list(csv.reader(stream))


def test_each_id_is_answered_once_in_order_and_with_its_own_image(door: Door, tmp_path: Path) -> None:
    (tmp_path / "cifar-10.zip").write_bytes(archive())
    told = door("prepare_kaggle.py", "archive=cifar-10.zip", "dir=data", "tree=true", "valid_ratio=0.2").stdout
    assert ("60 training images" in told, "23 test images" in told) == (True, True)
    tree = tmp_path / "data" / "train_valid_test"
    assert [len(list(tree.glob(f"{part}/*/*.png"))) for part in ("valid", "train_valid", "test")] == [10, 60, 23]
    settings = (*FAST, "data.dir=data", "data.augment=none", "trainer.max_epochs=40", "optimizer.lr=0.003")
    settings += ("callbacks=bare", "logger=none", "retrain_on_all=true")
    door("train.py", "data=kaggle_cifar10", *settings, "hydra.run.dir=run")
    assert f"{TEST} images classified" in door("predict.py", "run=run", "probabilities=true").stdout
    answer = rows(tmp_path / "run" / "submission.csv")
    listed = rows(tmp_path / "data" / "sampleSubmission.csv")
    assert [number for number, _ in answer] == [row[0] for row in listed if row]
    assert answer[0] == ["id", "label"]
    right = [label == CLASSES[7 * int(number) % 10] for number, label in answer[1:]]
    assert sum(right) == TEST, "the network tells ten colours apart, so every pair of id and label must be right"
    probabilities = np.load(tmp_path / "run" / "probabilities.npy", allow_pickle=False)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert [CLASSES[i] for i in probabilities.argmax(axis=1)] == [label for _, label in answer[1:]]


def test_a_folder_to_be_read_only_and_without_test_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    (tmp_path / "test").rename(tmp_path / "elsewhere").with_name("test").mkdir()
    (tmp_path / "sampleSubmission.csv").unlink()
    data = built(imgclf.compose(["data=kaggle_cifar10", f"data.dir={tmp_path}"]), "data")
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data.prepare_data()
    assert ((tmp_path / ".decoded").exists(), (tmp_path / "cache").exists()) == (False, True)
    with pytest.raises(InputError, match="test holds no picture"):
        data.read_unlabelled()


@pytest.mark.slow
def test_archives_that_people_really_have(door: Door, tmp_path: Path) -> None:
    """One that was unpacked and packed again on a Mac or on Windows; larger pictures; grey ones from them."""
    contents = {**competition()} | {f"train/{i}.png": png(i, size=40) for i in range(1, TRAIN + 1)}
    with zipfile.ZipFile(tmp_path / "again.zip", "w") as out:
        for number, (file, data) in enumerate(contents.items()):
            out.writestr(f"cifar-10/{file}".replace("/", "\\" if number % 2 else "/"), data)
        for litter in ("__MACOSX/cifar-10/train/._1.png", "cifar-10/train/.DS_Store", "cifar-10/Thumbs.db"):
            out.writestr(litter, b"litter")
        out.writestr("cifar-10/../../../train/99.png", b"leads out")
    assert f"{TRAIN} training images" in door("prepare_kaggle.py", "archive=again.zip", "dir=data").stdout
    assert not (tmp_path.parent / "train").exists()
    forms = ("data.stored_size=40", "data.resize=40", "data.in_channels=1", "data.mean=null", "data.std=null")
    door("train.py", "data=kaggle_cifar10", "data.dir=data", *FAST, *forms, "debug=fast", "hydra.run.dir=run")
    door("predict.py", "run=run")
    assert len(rows(tmp_path / "run" / "submission.csv")) == TEST + 1


def test_what_does_not_fit_is_refused_and_nothing_is_placed(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    changes: list[tuple[Mapping[str, bytes | None], list[str]]] = [
        ({"trainLabels.csv": b"id,label\n1,catt\n"}, ["catt", "cat"]),
        ({"trainLabels.csv": b"id,label\n1,cat\n1,dog\n"}, ["trainLabels.csv, line 3", "1,dog"]),
        ({"trainLabels.csv": "id,label\n1,cat\n".encode("utf-16")}, ["trainLabels.csv", "cannot be read"]),
        ({"sampleSubmission.csv": b"id,label\n99,cat\n"}, ["test", "99.png", "sampleSubmission.csv"]),
        ({"train.7z": seven_zip("train")[:-30]}, ["train.7z"]),
        ({"train.7z": None}, ["lacks train"]),
    ]
    for change, words in changes:
        (tmp_path / "cifar-10.zip").write_bytes(archive(change))
        refused("prepare_kaggle.py archive=cifar-10.zip dir=data", *words)
    (tmp_path / "cifar-10.zip").write_bytes(archive()[:-1000])
    for given, word in {
        "arhive=x.zip": "archive",
        "archive=nowhere.zip": "nowhere.zip",
        "dir=data": "kaggle competitions download -c cifar-10",
        "archive=cifar-10.zip": "cifar-10.zip",
        "demo=true demo_url=http://127.0.0.1:9/tiny.zip": "127.0.0.1:9",
    }.items():
        refused(f"prepare_kaggle.py {given} dir=data", word)


@pytest.mark.slow
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
