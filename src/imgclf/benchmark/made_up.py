"""A folder of the competition's form whose images are made up: for speed, what they show does not matter."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from imgclf.images.kaggle import CLASSES
from imgclf.images.tree import make_tree


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
