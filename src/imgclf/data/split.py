"""Which images are held out: a share of each class, or one of several folds."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imgclf.errors import InputError

Positions = NDArray[np.int64]


def stratified_split(
    labels: Positions, fraction: float, seed: int, class_names: Sequence[str]
) -> tuple[Positions, Positions]:
    """Positions of the images that stay and of those held out, each in rising order, for labels int64 (n,).

    Each class gives ``fraction`` of its images, at least one, and keeps one; which is a function of the seed.
    """
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise InputError(f"class {class_names[label]} has 1 image; at least 2 are needed to hold one out: add some")
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        held_out[rng.permutation(members)[:count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def fold_split(
    labels: Positions, folds: int, fold: int, seed: int, class_names: Sequence[str]
) -> tuple[Positions, Positions]:
    """The same for one of ``folds`` parts of one size, which with the others, of the same seed, make up all images."""
    rng, part = np.random.default_rng(seed), np.empty(len(labels), dtype=np.int64)
    dealt = 0  # so that the folds are of one size, however many images each class has
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        if len(members) < folds:
            few = f"class {class_names[label]} has {len(members)} image(s)"
            raise InputError(f"data.folds={folds}, but {few}: give fewer")
        part[members] = (np.arange(len(members)) + dealt) % folds
        dealt += len(members)
    return np.flatnonzero(part != fold), np.flatnonzero(part == fold)
