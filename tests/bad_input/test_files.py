"""Data files that are damaged, swapped, missing or out of reach, as commands tell of them; and names that must work."""

import os
import shlex
from pathlib import Path

from conftest import Door, Refused
from made_up import TEST, archive

QUICK = "logger=none debug=fast test=false data.batch_size=8"
FASHION = f"train.py data=fashion_mnist data.dir=data data.system_dir=null data.download=false {QUICK}"
KAGGLE = f"train.py data=kaggle_cifar10 data.dir=data data.augment=none {QUICK}"
IMAGES = "train-images-idx3-ubyte"
ODD = "my data, ü & 数据"


def test_files_that_are_none_and_data_that_are_not_there(refused: Refused, tmp_path: Path) -> None:
    refused(FASHION, "data", "data.dir")
    refused(KAGGLE, "data lacks train", "demo=true")
    (tmp_path / "data").mkdir()
    for name in ("train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (tmp_path / "data" / name).write_bytes(b"")
    refused(FASHION, IMAGES)  # the last one is missing
    os.mkfifo(tmp_path / "data" / IMAGES)
    refused(FASHION, IMAGES)


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
