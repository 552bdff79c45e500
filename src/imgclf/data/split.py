"""Holding out validation images."""

import numpy as np
from numpy.typing import NDArray

from imgclf.errors import InputError


def stratified_split(
    labels: NDArray[np.int64], val_fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Hold the same share of each class out.

    Args:
        labels: int64 (n,).
        val_fraction: share of each class to hold out, in (0, 1); each class gives at least one image and keeps one.
        seed: which images are held out is a function of it.

    Returns:
        Positions int64 of the training and of the validation images, each in rising order.

    Raises:
        InputError: ``val_fraction`` is out of range, or a class has fewer than two images.
    """
    if not 0 < val_fraction < 1:
        raise InputError(f"data.val_fraction must lie in (0, 1), got {val_fraction}")
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise InputError(
                f"class {label} has {len(members)} image(s); at least 2 are needed to train and to validate on it"
            )
        count = min(max(round(len(members) * val_fraction), 1), len(members) - 1)
        held_out[rng.permutation(members)[:count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
