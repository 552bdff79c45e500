"""The data module of Kaggle's CIFAR-10 folder."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from imgclf.data.kaggle_cifar10 import KaggleCIFAR10
from imgclf.errors import InputError
from imgclf.images.augment import PadCropFlip
from imgclf.images.kaggle import CLASSES


def png(pixels: np.ndarray) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """30 training images, 3 a class but 2 of the last and 4 of the first, and 5 test images."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 30), ("test", 5)):
        (tmp_path / part).mkdir()
        for i in range(1, count + 1):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            pixels[0, 0] = i  # so that an image says which file it comes from
            (tmp_path / part / f"{i}.png").write_bytes(png(pixels))
    labels = [CLASSES[i % 10] for i in range(29)] + [CLASSES[0]]
    (tmp_path / "trainLabels.csv").write_text("id,label\n" + "".join(f"{i},{c}\n" for i, c in enumerate(labels, 1)))
    (tmp_path / "sampleSubmission.csv").write_text("id,label\n" + "".join(f"{i},cat\n" for i in (4, 2, 5, 1, 3)))
    return tmp_path


def module(folder: Path, **changes: Any) -> KaggleCIFAR10:
    options = {
        "dir": str(folder),
        "cache_dir": str(folder / ".decoded"),
        "stored_size": 32,
        "decode_workers": 1,
        "in_channels": 3,
        "num_classes": 10,
        "resize": 32,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "batch_size": 4,
        "eval_batch_size": 4,
        "val_fraction": 0.5,
        "seed": 0,
    }
    data = KaggleCIFAR10(**options | changes)
    data.prepare_data()
    return data


def file_numbers(images: torch.Tensor) -> list[int]:
    return images[:, 0, 0, 0].tolist()


def test_each_class_gives_as_many_validation_images_as_a_share_of_the_smallest(folder: Path) -> None:
    data = module(folder)
    data.setup("fit")
    # The smallest class has 2 images; half of that is 1 from each of the 10.
    assert (len(data.train_set), len(data.val_set)) == (20, 10)
    assert data.val_set[torch.arange(10)][1].sort().values.tolist() == list(range(10))


def test_pixels_and_labels_belong_together(folder: Path) -> None:
    data = module(folder, fit_on="train_valid")
    data.setup("fit")
    images, labels = data.train_set[torch.arange(30)]
    assert images.shape == (30, 3, 32, 32)
    for number, label in zip(file_numbers(images), labels.tolist(), strict=True):
        assert label == (0 if number == 30 else (number - 1) % 10)


def test_test_images_have_no_labels_and_are_known_by_their_files(folder: Path) -> None:
    data = module(folder)
    data.setup("predict")
    with pytest.raises(InputError, match=r"no labelled test images: use scripts/predict.py"):
        data.setup("test")
    images = torch.cat([images for images, _ in data.predict_dataloader()])
    assert file_numbers(images) == data.predicted_ids().tolist() == [1, 2, 3, 4, 5]
    assert data.ids_to_submit().tolist() == [4, 2, 5, 1, 3]


def test_a_changed_image_is_noticed(folder: Path) -> None:
    data = module(folder)
    pixels = np.full((32, 32, 3), 99, dtype=np.uint8)
    (folder / "train" / "7.png").write_bytes(png(pixels))
    data = module(folder, fit_on="train_valid")
    data.setup("fit")
    assert data.train_set[torch.tensor([6])][0].unique().tolist() == [99]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "train" / "3.png").unlink(), r"lacks 1 image \(3.png\)"),
        (lambda f: (f / "train" / "31.png").write_bytes(b""), r"holds 1 image \(31.png\)"),
        (lambda f: (f / "train" / "notes.txt").write_text(""), "notes.txt"),
        (lambda f: (f / "train" / "3.png").write_bytes((f / "train" / "3.png").read_bytes()[:-30]), "3.png"),
        (lambda f: Image.new("L", (32, 32)).save(f / "train" / "3.png"), "3.png"),
        (lambda f: Image.new("RGB", (64, 64)).save(f / "train" / "3.png"), "3.png"),
        (lambda f: (f / "trainLabels.csv").write_text("id\n1\n"), "must begin with the line id,label"),
        (lambda f: (f / "trainLabels.csv").open("a").write("1,cat\n"), "id 1 more than once"),
    ],
)
def test_whatever_does_not_fit_is_named(folder: Path, damage: Any, message: str) -> None:
    damage(folder)
    with pytest.raises(InputError, match=message):
        module(folder)


def test_training_images_are_augmented_by_place_in_the_run_and_others_never(folder: Path) -> None:
    class Progress:
        def __init__(self, epoch: int, batch: int, training: bool) -> None:
            self.current_epoch, self.training, self.global_rank, self.world_size = epoch, training, 0, 1
            self.fit_loop = self.epoch_loop = self.batch_progress = self.current = self
            self.ready = batch
            self.lightning_module, self.dtype = self, torch.float32

    data = module(folder, augment="mine", augmentations={"mine": PadCropFlip(4, 0.5, "reflect")})
    data.setup("fit")
    batch = data.train_set[torch.arange(8)]

    def fed(*place: Any) -> torch.Tensor:
        data.trainer = Progress(*place)  # type: ignore[assignment]
        return data.on_after_batch_transfer(batch, 0)[0]

    assert torch.equal(fed(1, 2, True), fed(1, 2, True))
    assert not torch.equal(fed(1, 2, True), fed(1, 3, True))
    assert not torch.equal(fed(1, 2, True), fed(2, 2, True))
    torch.testing.assert_close(fed(1, 2, False), batch[0] / 255)
