"""Telling whether two runs saw the same images."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from imgclf.data.batches import ImageArray
from imgclf.data.fashion_mnist import FashionMNISTMini
from imgclf.data.fingerprint import SAMPLED_IMAGES, WHOLE_BYTES, fingerprint
from imgclf.data.module import as_tensors


def images(count: int = 10, size: int = 4) -> ImageArray:
    pixels = torch.arange(count * 3 * size * size, dtype=torch.int64).remainder(251).to(torch.uint8)
    return ImageArray(pixels.view(count, 3, size, size), torch.arange(count) % 10)


def test_it_is_of_the_contents_and_of_nothing_else() -> None:
    one, other = fingerprint(images()), fingerprint(images())
    assert one == other
    assert one["images"] == [10, 3, 4, 4]
    assert (one["type"], one["of"]) == ("uint8", 10)
    assert len(one["digest"]) == 16


def test_every_pixel_every_label_and_the_shape_count() -> None:
    digests = {fingerprint(images())["digest"]}
    for change in range(3):
        changed = images()
        if change == 0:
            changed.images[9, 2, 3, 3] += 1
        elif change == 1:
            changed.labels[9] = 0
        else:
            changed = ImageArray(changed.images.view(10, 12, 2, 2), changed.labels)
        digests.add(fingerprint(changed)["digest"])
    assert len(digests) == 4


def test_of_a_large_memory_map_only_a_part_is_read(tmp_path: Path) -> None:
    count = 100_000  # 307 MB, as zeros that take no disk
    file = tmp_path / "images.npy"
    np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(count, 3, 32, 32)).flush()
    array = np.load(file, mmap_mode="r+", allow_pickle=False)
    assert array.nbytes > WHOLE_BYTES
    labels = np.zeros(count, dtype=np.int64)
    before = fingerprint(as_tensors(array, labels))
    assert before["of"] == SAMPLED_IMAGES
    array[-1, 0, 0, 0] = 1  # the last image is among them
    assert fingerprint(as_tensors(array, labels)) != before


def test_data_modules_give_it_only_when_asked() -> None:
    options: dict[str, Any] = {"in_channels": 1, "num_classes": 10, "resize": 28, "mean": [0.3], "std": [0.4]}
    options |= {"batch_size": 100, "eval_batch_size": 100, "seed": 0}
    found = []
    for fraction in (0.1, 0.2):  # the images are the same whatever the split
        data = FashionMNISTMini(val_fraction=fraction, **options)
        data.setup("test")
        assert data.fingerprints is None
        data.fingerprints = {}
        data.setup("fit")
        found.append(data.fingerprints)
    assert found[0] == found[1]
    assert found[0]["train"]["images"] == [10_000, 1, 28, 28]
