"""Fashion-MNIST, arrays of one's own, CIFAR-10's binary archive: from files to what the network is fed."""

import gzip
import hashlib
import io
import shutil
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from conftest import Door
from run_files import run_json

import imgclf
from imgclf.build import built
from imgclf.data.arrays import CIFAR10, Arrays
from imgclf.data.fashion_mnist import FILES, MINI, FashionMNIST, FashionMNISTMini, read_idx, read_part
from imgclf.errors import InputError

OPTIONS: dict[str, Any] = {
    **{"in_channels": 1, "num_classes": 10, "resize": 28, "mean": [0.25], "std": [0.5]},
    **{"batch_size": 64, "eval_batch_size": 300, "val_fraction": 0.1, "seed": 0},
}


def mini(**changes: Any) -> FashionMNISTMini:
    data = FashionMNISTMini(**OPTIONS | changes)
    data.setup("fit")
    data.setup("test")
    return data


def test_training_validation_and_test_images_are_kept_apart() -> None:
    data, everything = mini(), mini(fit_on="train_valid")
    assert (len(data.train_set), len(data.val_set), len(data.test_set)) == (9000, 1000, 2000)
    assert not set(data.train_set.chosen.tolist()) & set(data.val_set.chosen.tolist())  # type: ignore[union-attr]
    assert (len(everything.train_set), everything.val_dataloader()) == (10_000, [])


def test_batches_travel_as_bytes_and_are_converted_whole() -> None:
    data = mini(mean=None, std=None)
    pixels = data.train_set.images[data.train_set.chosen].double() / 255  # type: ignore[index]
    assert data.mean == [round(float(pixels.mean()), 4)], "measured on the training images"
    assert data.std == [round(float(pixels.std(correction=0)), 4)]
    images, labels = next(iter(data.train_dataloader()))
    assert (images.dtype, images.shape, labels.dtype) == (torch.uint8, (64, 1, 28, 28), torch.int64)
    fed, _ = data.on_after_batch_transfer((images, labels), 0)
    torch.testing.assert_close(fed, (images.float() / 255 - data.mean[0]) / data.std[0])  # type: ignore[index]


def test_nonsense_is_refused() -> None:
    for change, name in (
        *((f"data.{x}", f"data.{x}") for x in ("val_fraction=0.0", "batch_size=0", "num_workers=-1", "mix=both")),
        ("data.std=[0.0]", "data.std"),
        ("data.mean=[0.1,0.2] data.std=[1.0,1.0]", "2 entries, the images 1 channel"),
        ("data.num_classes=12", "data.num_classes=10"),
        ("data.augment=[none,crop]", "data.augment.*'crop'"),
    ):
        with pytest.raises(InputError, match=name):
            built(imgclf.compose(change.split()), "data").setup("fit")


def test_fashion_mnist_is_had_whole(served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder, url), dir = served, tmp_path / "data"

    def full(**changes: Any) -> FashionMNIST:
        settings = {"dir": str(dir), "system_dir": None, "download": True}
        return FashionMNIST(**OPTIONS | settings | changes)

    with pytest.raises(InputError, match=r"data.download=true or data=fashion_mnist_mini"):
        full(download=False).prepare_data()
    shutil.copy(MINI / f"{FILES[0]}.gz", folder)  # not the published file
    for mirror in ("http://127.0.0.1:9/", f"{url}/"):
        monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [mirror])
        with pytest.raises(InputError, match=f"{FILES[0]}.gz could not be downloaded from '{mirror}"):
            full().prepare_data()
    assert not any(dir.iterdir()), "nothing half or wrong is left"
    packed = [(f"{name}.gz", hashlib.md5((MINI / f"{name}.gz").read_bytes()).hexdigest()) for name in FILES]
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", packed)  # as if the small files were published
    for name in FILES:
        shutil.copy(MINI / f"{name}.gz", folder)
    (dir / FILES[1]).write_bytes(gzip.decompress((MINI / f"{FILES[1]}.gz").read_bytes()))  # unpacked is as good
    full().prepare_data()
    assert {file.name for file in dir.iterdir()} == {FILES[1], *(f"{n}.gz" for n in FILES if n != FILES[1])}
    full(dir=str(tmp_path / "none"), system_dir=str(MINI), download=False).prepare_data()
    assert full(resize=96).decode.size == 28, "pictures from elsewhere are enlarged as these are"


def idx(*shape: int, data: bytes | None = None) -> bytes:
    content = bytes(np.prod(shape)) if data is None else data
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + content


def test_damaged_idx_files_and_those_that_do_not_fit_each_other_are_named(tmp_path: Path) -> None:
    for content in (
        *(b"", b"PK\x03\x04", idx(2, 3)[:-1], idx(2, 3) + b"x", b"\0\0\x0d\x01\0\0\0\x01x", b"\0\0\x08\xff"),
        *(gzip.compress(idx(2))[:-3], b"\x1f\x8b" + bytes(20), idx(2**31, 2**31, data=b"")),
    ):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(InputError, match="file cannot be used"):
            read_idx(tmp_path / "file")
    (tmp_path / FILES[0]).write_bytes(idx(3, 2, 2))
    (tmp_path / FILES[1]).write_bytes(idx(4))
    with pytest.raises(InputError, match="labels"):
        read_part(tmp_path, "train")


IMAGES = np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), dtype=np.uint8)
LABELS = np.arange(40) % 4


def save(file: Path, **changes: Any) -> Path:
    arrays = {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES[:8], "test_labels": LABELS[:8]}
    np.savez(file, **arrays | changes)
    return file


def arrays(file: Path, **changes: Any) -> Arrays:
    form = {"file": str(file), "class_names": None, "num_classes": 4, "in_channels": 3, "mean": None, "std": None}
    return Arrays(**OPTIONS | form | {"batch_size": 8, "resize": 8} | changes)


def test_arrays_of_ones_own_train_from_the_command_line(door: Door, tmp_path: Path) -> None:
    bright = IMAGES // 2 + (LABELS * 40).astype(np.uint8)[:, None, None, None]
    save(tmp_path / "mine.npz", train_images=bright, test_images=bright[:8])
    form = ("data.num_classes=4", "data.in_channels=3", "data.resize=8", "data.batch_size=8", "debug=fast")
    door("train.py", "data=arrays", "data.file=mine.npz", *form, "hydra.run.dir=run", "logger=none", "callbacks=bare")
    assert run_json(tmp_path / "run")["train_images"] == 36
    assert "accuracy" in door("evaluate.py", "run=run").stdout
    assert "nowhere.npz" in door("train.py", "data=arrays", "data.file=nowhere.npz", *form, expect=2).stderr


def test_layouts_that_are_in_use_are_understood(tmp_path: Path) -> None:
    layouts = (("hwc", IMAGES.transpose(0, 2, 3, 1), 3), ("hw", IMAGES[:, 0], 1), ("chw", IMAGES, 3))
    for name, given, channels in layouts:
        data = arrays(save(tmp_path / f"{name}.npz", train_images=given), in_channels=channels)
        expected = IMAGES[:, :1] if channels == 1 else IMAGES
        assert (data.read_train().images.numpy() == expected).all(), name
    grey = save(tmp_path / "grey.npz", train_images=IMAGES[:, 0], test_images=IMAGES[:8, 0])
    (data := arrays(grey, mean=[0.4, 0.5, 0.6], std=[0.2, 0.2, 0.2])).setup("fit")
    assert data.to_input(data.train_set.images).shape[1] == 3
    np.savez(tmp_path / "keras.npz", x_train=IMAGES, y_train=LABELS[:, None])
    data = arrays(tmp_path / "keras.npz")
    assert data.read_train().labels.tolist() == LABELS.tolist()
    assert not data.has_test_labels
    np.savez(tmp_path / "unlabelled.npz", x_train=IMAGES, y_train=LABELS, x_test=IMAGES)
    assert not arrays(tmp_path / "unlabelled.npz").has_test_labels
    data = arrays(save(tmp_path / "split.npz", val_images=IMAGES[:5], val_labels=LABELS[:5]))
    data.setup("fit")
    assert (len(data.train_set), data.val_set[torch.arange(5)][1].tolist()) == (40, LABELS[:5].tolist())
    whole = save(tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:2000])
    (tmp_path / "flipped.npz").write_bytes(whole.replace(IMAGES.tobytes()[:9], b"123456789", 1))
    np.save(tmp_path / "one.npy", IMAGES)
    for damaged in ("cut.npz", "flipped.npz", "one.npy"):
        with pytest.raises(InputError, match=damaged):
            arrays(tmp_path / damaged).read_train()


def test_arrays_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    for part, changed, said in (
        ("images", IMAGES / 255, r"_images.*float64.*uint8.*save \(255 \* images"),
        ("images", IMAGES * np.uint16(16), r"save \(\(images - \d+\) \* \(255 / "),
        ("images", IMAGES[:9], "(?=.*_images)(?=.*9)(?=.*_labels)(?=.*40)"),
        ("images", IMAGES[:, :2], r"_images.*\(40, 2, 8, 8\)"),
        ("images", IMAGES[:, :, :6], "_images.*6 x 8 pixels"),
        ("labels", LABELS - 1, "_labels.*from 0"),
        ("labels", LABELS + 1, "labels go from 0 to 4: give data.num_classes=5"),
        ("labels", np.array([None] * 40), "_labels.*cannot be read"),
    ):
        given = {f"test_{kind}": array for kind, array in (("images", IMAGES), ("labels", LABELS), (part, changed))}
        with pytest.raises(InputError, match=said):
            arrays(save(tmp_path / "mine.npz", **{f"train_{part}": changed})).setup("fit")
        with pytest.raises(InputError, match=said):  # the test's before training
            arrays(save(tmp_path / "mine.npz", **given)).setup("fit")


def test_cifar10_is_downloaded_checked_and_read(served: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = served
    pixels, labels = np.random.default_rng(1).integers(0, 256, (24, 3, 32, 32), dtype=np.uint8), np.arange(24) % 10
    records = np.hstack([labels[:, None].astype(np.uint8), pixels.reshape(-1, 3072)])
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as packed:
        for name, part in zip(("data_batch_1", "data_batch_2", "test_batch"), np.split(records, [10, 20]), strict=True):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = part.nbytes
            packed.addfile(member, io.BytesIO(part.tobytes()))
    md5 = hashlib.md5((folder / "cifar-10-binary.tar.gz").read_bytes()).hexdigest()

    def cifar(**changes: Any) -> CIFAR10:
        settings = {"dir": str(tmp_path / "data"), "url": f"{url}/cifar-10-binary.tar.gz", "md5": md5}
        form = {"in_channels": 3, "resize": 32, "mean": [0.5] * 3, "std": [0.2] * 3, "batch_size": 8}
        return CIFAR10(**OPTIONS | settings | form | changes)

    for wrong in ({"md5": "0" * 32}, {"url": f"{url}/nothing.tar.gz"}, {"url": ""}):
        with pytest.raises(InputError, match="could not be downloaded"):
            cifar(**wrong).prepare_data()
    data = cifar()
    data.prepare_data()
    train, test = data.read_train(), data.read_test()
    assert (train.images.numpy() == pixels[:20]).all()
    assert (test.images.numpy() == pixels[20:]).all()
    assert train.labels.tolist() + test.labels.tolist() == labels.tolist()


def test_each_setting_changes_what_is_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rare = (LABELS == 0).astype(np.int64)
    save(tmp_path / "x.npz", train_labels=rare, test_labels=rare[:8])
    form = "data=arrays data.file=x.npz data.num_classes=2 data.in_channels=3 data.resize=8 data.batch_size=8"
    ways = ["seed=0", "loss.class_weights=balanced", "loss=focal", "data.sampler=balanced", "data.mix=mixup"]
    ways += ["optimizer=muon", "data.augment=pad_crop_flip", "data.augment=color_jitter", "model.label_smoothing=0.1"]
    common = (*form.split(), "debug=fast", "callbacks=bare", "logger=none")
    given = [[*common, way, f"hydra.run.dir={number}"] for number, way in enumerate(ways)]
    assert len({imgclf.fit(imgclf.compose(each))["train/loss"] for each in given}) == len(ways)
