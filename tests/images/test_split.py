"""The chapter's rule: the same number of validation images from each class."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgclf.errors import InputError
from imgclf.images.split import split_by_class


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("sizes", "valid_ratio", "each"),
    [
        ([5000] * 10, 0.1, 500),
        ([467, 485, 529], 0.1, 46),  # floor(46.7)
        ([5, 100], 0.1, 1),  # floor(0.5) is 0, but one at least
        ([10, 20, 30], 0.5, 5),
    ],
)
def test_each_class_gives_the_same_number_set_by_the_smallest(sizes, valid_ratio, each):
    labels = rng().permutation(np.repeat(np.arange(len(sizes)), sizes))
    train, valid = split_by_class(labels, valid_ratio, rng())
    assert np.bincount(labels[valid]).tolist() == [each] * len(sizes)
    assert np.bincount(labels[train]).tolist() == [size - each for size in sizes]


@given(
    labels=st.lists(st.integers(0, 4), min_size=2, max_size=60).flatmap(lambda x: st.just(x + x)),
    valid_ratio=st.floats(0.01, 0.99),
    seed=st.integers(0, 99),
)
def test_every_image_is_on_exactly_one_side_and_the_seed_decides(labels, valid_ratio, seed):
    labels = np.array(labels)
    train, valid = split_by_class(labels, valid_ratio, rng(seed))
    assert sorted([*train, *valid]) == list(range(len(labels)))
    assert set(labels[train]) == set(labels[valid]) == set(labels)
    again = split_by_class(labels, valid_ratio, rng(seed))
    np.testing.assert_array_equal(again[1], valid)


def test_another_seed_draws_other_images():
    labels = np.repeat(np.arange(10), 100)
    drawn = [split_by_class(labels, 0.1, rng(seed))[1] for seed in (0, 1)]
    assert not np.array_equal(*drawn)
    assert all((np.diff(valid) > 0).all() and valid.dtype == np.int64 for valid in drawn)


@pytest.mark.parametrize("valid_ratio", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_ratio_outside_is_refused(valid_ratio):
    with pytest.raises(InputError, match="valid_ratio must lie in"):
        split_by_class(np.array([0, 0, 1, 1]), valid_ratio, rng())


def test_a_class_of_one_image_and_no_labels_are_refused():
    with pytest.raises(InputError, match="class 1 has 1 image"):
        split_by_class(np.array([0, 0, 1]), 0.1, rng())
    with pytest.raises(InputError, match="no labels"):
        split_by_class(np.array([], dtype=np.int64), 0.1, rng())
