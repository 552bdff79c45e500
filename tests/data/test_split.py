"""Holding validation images out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgclf.data.split import chapter_split, stratified_split
from imgclf.errors import InputError


def test_each_class_gives_the_same_share() -> None:
    labels = np.repeat(np.arange(3), [100, 50, 10])
    train, val = stratified_split(labels, 0.1, seed=0)
    assert np.bincount(labels[val]).tolist() == [10, 5, 1]
    assert np.bincount(labels[train]).tolist() == [90, 45, 9]


@given(
    sizes=st.lists(st.integers(2, 30), min_size=1, max_size=5),
    fraction=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**32),
)
def test_no_image_is_in_both_parts_and_none_is_lost(sizes: list[int], fraction: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    train, val = stratified_split(labels, fraction, seed)
    assert sorted([*train, *val]) == list(range(len(labels)))
    for part in (train, val):
        assert set(labels[part]) == set(range(len(sizes))), "every class is in both parts"


def test_the_seed_decides_which_images_are_held_out() -> None:
    labels = np.repeat(np.arange(10), 100)
    first, again, other = (stratified_split(labels, 0.2, seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_the_chapters_rule_takes_as_many_of_each_class() -> None:
    labels = np.repeat(np.arange(3), [100, 50, 25])
    train, valid = chapter_split(labels, 0.1, seed=0)
    assert np.bincount(labels[valid]).tolist() == [2, 2, 2], "a tenth of the smallest class, rounded down"
    assert sorted([*train, *valid]) == list(range(175))
    assert chapter_split(labels, 0.1, seed=0)[1].tolist() == valid.tolist()
    with pytest.raises(InputError, match="1 image"):
        chapter_split(np.array([0, 0, 1]), 0.1, seed=0)


def test_a_class_with_a_single_image_is_refused() -> None:
    with pytest.raises(InputError, match="class cat has 1 image"):
        stratified_split(np.array([0, 0, 1]), 0.5, seed=0, class_names=["dog", "cat"])
