"""Data files that are damaged, swapped, missing or out of reach, as commands tell of them; and names that must work."""

import os
import shlex
from pathlib import Path

import pytest
from conftest import Door, Refused
from made_up import TEST, archive, write

QUICK = "logger=none debug=fast test=false data.batch_size=8"
FASHION = f"train.py data=fashion_mnist data.dir=data data.system_dir=null data.download=false {QUICK}"
KAGGLE = f"train.py data=kaggle_cifar10 data.dir=data data.augment=none {QUICK}"
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
ODD = "my data, ü & 数据"


@pytest.mark.parametrize("kind", ["nothing", "truncated", "a folder", "a pipe", "one missing", "data is a file"])
def test_idx(kind: str, refused: Refused, tmp_path: Path) -> None:
    data, words = tmp_path / "data", [NAMES[0]]
    if kind == "data is a file":
        data.write_text("x")
    elif kind != "nothing":
        data.mkdir()
        for name in NAMES[1:]:
            (data / name).write_bytes(b"")
    if kind in ("nothing", "data is a file"):
        words = ["data", "data.dir"]
    elif kind == "truncated":
        (data / NAMES[0]).write_bytes(bytes([0, 0, 8, 3]))
    elif kind == "a folder":
        (data / NAMES[0]).mkdir()
    elif kind == "a pipe":
        os.mkfifo(data / NAMES[0])
    refused(FASHION, *words)


def test_settings_that_do_not_fit_the_images(refused: Refused, tmp_path: Path) -> None:
    refused(KAGGLE, "data lacks train", "demo=true")
    write(tmp_path / "data")
    refused(f"{KAGGLE} data.batch_size=640", "batch_size=640")
    refused(f"{KAGGLE} data.in_channels=1", "data.mean", "1 channel")


def test_folders_and_files_with_odd_names_that_may_only_be_read(door: Door, tmp_path: Path) -> None:
    (tmp_path / ODD).mkdir()
    (tmp_path / ODD / "ü 1.zip").write_bytes(archive())
    door("prepare_kaggle.py", f"archive={ODD}/ü 1.zip", f"dir={ODD}", "tree=true")
    for path in (tmp_path / ODD).rglob("*"):
        path.chmod(0o555)
    given = shlex.split(KAGGLE.replace("data.dir=data ", f"\"data.dir='{ODD}'\" "))
    door(*given, f"hydra.run.dir='runs, ü/{ODD}'")
    door("predict.py", f"run=runs, ü/{ODD}")
    assert (tmp_path / "runs, ü" / ODD / "submission.csv").read_text().count("\n") == TEST + 1
