"""Images that are made up: for speed, what they show does not matter."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from imgclf.data.batches import ImageArray
from imgclf.data.module import ImageData, as_tensors
from imgclf.images.kaggle import CLASSES
from imgclf.images.tree import make_tree
from imgclf.run_folder import written_aside


def competition(folder: Path, train: int, test: int, seed: int = 0) -> Path:
    """Write PNG files of blurred noise, about as large as the real ones (2.2 kB), the lists, and the class folders.

    Args:
        folder: must not exist.
        train: number of labelled images.
        test: number of images without label.
        seed: of the noise.

    Returns:
        The folder of the class folders: ``train``, ``valid``, ``train_valid`` and ``test``.
    """
    rng = np.random.default_rng(seed)
    for part, count in (("train", train), ("test", test)):
        (folder / part).mkdir(parents=True)
        for number in range(1, count + 1):
            noise = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
            noise.filter(ImageFilter.GaussianBlur(1)).save(folder / part / f"{number}.png")
    labels = [f"{number},{CLASSES[number % len(CLASSES)]}" for number in range(1, train + 1)]
    (folder / "trainLabels.csv").write_text("\n".join(["id,label", *labels]) + "\n")
    answers = [f"{number},cat" for number in range(1, test + 1)]
    (folder / "sampleSubmission.csv").write_text("\n".join(["id,label", *answers]) + "\n")
    return make_tree(folder, 0.1, seed)


class MadeUpImages(ImageData):
    """Grey images of noise, 28 x 28 pixels, 10 classes, in a memory-mapped file.

    Args:
        file: .npy file, written if it is not there.
        count: number of images.
        options: those of :class:`ImageData`.
    """

    class_names = tuple("0123456789")
    has_test_labels = False

    def __init__(self, file: str, count: int, **options: Any) -> None:
        super().__init__(**options)
        self.file = Path(file)
        self.count = count

    def prepare_data(self) -> None:
        """Write the file, a block at a time."""
        if self.file.exists():
            return
        rng = np.random.default_rng(0)
        with written_aside(self.file) as aside:
            images = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=(self.count, 1, 28, 28))
            for first in range(0, self.count, 10_000):
                block = images[first : first + 10_000]
                block[:] = rng.integers(0, 256, block.shape, dtype=np.uint8)
            images.flush()

    def read_train(self) -> ImageArray:
        return as_tensors(np.load(self.file, mmap_mode="r", allow_pickle=False), np.arange(self.count) % 10)
