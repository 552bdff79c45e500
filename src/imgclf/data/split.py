"""Holding images out for validation or for the test."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imgclf.errors import InputError

Positions = NDArray[np.int64]


def stratified_split(
    labels: Positions, fraction: float, seed: int, class_names: Sequence[str] | None = None
) -> tuple[Positions, Positions]:
    """Hold the same share of each class out.

    Args:
        labels: int64 (n,).
        fraction: share of each class to hold out, in (0, 1); each class gives at least one image and keeps one.
        seed: which images are held out is a function of it.
        class_names: for messages.

    Returns:
        Positions int64 of the images that stay and of those held out, each in rising order.

    Raises:
        InputError: a class has fewer than two images.
    """
    rng = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            name = class_names[label] if class_names else f"{label}"
            raise InputError(f"class {name} has 1 image; at least 2 are needed to hold one out: add some")
        count = min(max(round(len(members) * fraction), 1), len(members) - 1)
        held_out[rng.permutation(members)[:count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def chapter_split(labels: Positions, ratio: float, seed: int) -> tuple[Positions, Positions]:
    """Hold as many images of each class out as ``ratio`` of the smallest class, at least one (Zhang et al., Dive into
    Deep Learning, section 14.13); arguments and results as above."""
    smallest = int(np.bincount(labels)[np.unique(labels)].min())
    share = max(int(smallest * ratio), 1)
    if share >= smallest:
        raise InputError(f"a class has {smallest} image(s), of which {share} would be held out: add images")
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(np.flatnonzero(labels == label), share, replace=False) for label in np.unique(labels)]
    held_out = np.sort(np.concatenate(chosen)).astype(np.int64)
    return np.setdiff1d(np.arange(len(labels)), held_out), held_out
