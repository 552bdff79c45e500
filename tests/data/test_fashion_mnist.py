"""The Fashion-MNIST data modules: from files to what the network is fed."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from imgclf.data.fashion_mnist import FashionMNIST, FashionMNISTMini
from imgclf.errors import InputError
from imgclf.images import fashion_mnist as files

OPTIONS: dict[str, Any] = {
    "in_channels": 1,
    "num_classes": 10,
    "resize": 28,
    "mean": [0.25],
    "std": [0.5],
    "batch_size": 64,
    "eval_batch_size": 300,
    "val_fraction": 0.1,
    "seed": 0,
}


def mini(**changes: Any) -> FashionMNISTMini:
    data = FashionMNISTMini(**OPTIONS | changes)
    data.setup("fit")
    data.setup("test")
    return data


def test_training_validation_and_test_images_are_kept_apart() -> None:
    data = mini()
    assert (len(data.train_set), len(data.val_set), len(data.test_set)) == (9000, 1000, 2000)
    assert data.train_set.chosen is not None
    assert data.val_set.chosen is not None
    assert not set(data.train_set.chosen.tolist()) & set(data.val_set.chosen.tolist())
    labels = torch.cat([labels for _, labels in data.val_dataloader()])  # type: ignore[union-attr]
    assert labels.bincount().tolist() == [100] * 10


def test_batches_travel_as_bytes_and_are_converted_whole() -> None:
    data = mini()
    images, labels = next(iter(data.train_dataloader()))
    assert images.dtype == torch.uint8
    assert images.shape == (64, 1, 28, 28)
    assert labels.dtype == torch.int64
    fed, _ = data.on_after_batch_transfer((images, labels), 0)
    torch.testing.assert_close(fed, (images.float() / 255 - 0.25) / 0.5)


def test_images_are_resized_on_the_way_and_grey_is_repeated() -> None:
    data = mini(resize=96, in_channels=3)
    fed = data.to_input(data.test_set[torch.arange(5)][0])
    assert fed.shape == (5, 3, 96, 96)
    assert torch.equal(fed[:, 0], fed[:, 2])


def test_training_on_all_images_validates_on_none() -> None:
    data = mini(fit_on="train_valid")
    assert len(data.train_set) == 10_000
    assert data.val_dataloader() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"val_fraction": 0.0}, r"data.val_fraction must lie in \(0, 1\), got 0.0"),
        ({"batch_size": 0}, "data.batch_size must be at least 1, got 0"),
        ({"num_workers": -1}, "data.num_workers must lie in 0 to"),
        ({"std": [0.0]}, "std above 0"),
        ({"mean": [0.1, 0.2], "std": [1.0, 1.0]}, "have 2 entries, the images 1 channel"),
        ({"num_classes": 5}, "data.num_classes=5, but there is a label 9"),
        ({"augment": "chapter"}, "data.augment must be one of none, got 'chapter'"),
        ({"fit_on": "all"}, "data.fit_on must be train or train_valid, got 'all'"),
    ],
)
def test_nonsense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mini(**change)


def full(dir: Path, **changes: Any) -> FashionMNIST:
    return FashionMNIST(**OPTIONS | {"dir": str(dir), "system_dir": None, "download": False} | changes)


def test_without_files_and_download_the_remedy_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"set data.download=true, or put the four IDX files into data.dir"):
        full(tmp_path).prepare_data()


def test_a_download_that_was_broken_off_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = files.fashion_mnist_mini_folder()
    shutil.copy(whole / f"{files.FILES[0]}.gz", tmp_path)

    def download(dir: Path) -> None:  # the network; tests/images has the real thing against a local server
        for name in files.missing_files(dir):
            shutil.copy(whole / f"{name}.gz", dir)

    monkeypatch.setattr(files, "download_fashion_mnist", download)
    with pytest.raises(InputError, match="lacks"):
        full(tmp_path).prepare_data()
    full(tmp_path, download=True).prepare_data()
    assert files.find_fashion_mnist(tmp_path, None) == tmp_path


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    for file in files.fashion_mnist_mini_folder().glob("*.gz"):
        shutil.copy(file, tmp_path)
    with pytest.raises(InputError, match="not that of the published file"):
        full(tmp_path).setup("fit")
