"""Set part of the training images aside for validation, the same number from each class."""

import numpy as np
from numpy.typing import NDArray

from imgclf.errors import InputError


def split_by_class(
    labels: NDArray[np.int64], valid_ratio: float, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split positions 0 to n - 1 into (train, valid), both int64 and ascending, by the rule of the Kaggle
    chapter.

    With m the size of the smallest class, each class gives max(floor(m * valid_ratio), 1) images to valid,
    drawn without replacement, and the rest to train. `labels`: int64 (n,), in an order of their own
    (ascending by id, as `read_labels` gives them), so that the split depends on nothing but labels, ratio and
    generator.

    Raises InputError if the ratio lies outside (0, 1) or leaves a class without training images.
    """
    if not 0 < valid_ratio < 1:
        raise InputError(f"valid_ratio must lie in (0, 1), got {valid_ratio}")
    classes, sizes = np.unique(labels, return_counts=True)
    if not classes.size:
        raise InputError("there are no labels to split; is the list of labels empty?")
    smallest = int(sizes.min())
    share = max(int(np.floor(smallest * valid_ratio)), 1)
    if share >= smallest:
        raise InputError(
            f"class {classes[sizes.argmin()]} has {smallest} image(s), of which {share} would be set aside "
            "for validation and none be left to train on; add images or leave the class out."
        )
    valid = np.concatenate(
        [generator.choice(np.flatnonzero(labels == label), share, replace=False) for label in classes]
    )
    valid.sort()
    return np.setdiff1d(np.arange(len(labels), dtype=np.int64), valid), valid.astype(np.int64)
