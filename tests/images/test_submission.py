"""submission.csv."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgclf.errors import InputError
from imgclf.images.submission import rows_of, submission


def test_the_file_has_a_line_an_id_in_their_order() -> None:
    assert submission(np.array([3, 1]), np.array([1, 0]), ["cat", "dog"]) == "id,label\n3,dog\n1,cat\n"


@given(ids=st.lists(st.integers(1, 2**62), min_size=1, unique=True), seed=st.integers(0, 2**31))
def test_each_id_finds_its_own_prediction(ids: list[int], seed: int) -> None:
    wanted = np.array(ids)
    predicted = np.random.default_rng(seed).permutation(wanted)
    assert (predicted[rows_of(wanted, predicted)] == wanted).all()


@pytest.mark.parametrize(
    ("ids", "predicted", "message"),
    [
        ([1, 2, 3], [1, 3], "1 ids have no image, 2 first"),
        ([1], [1, 7], "1 images are not asked for, 7.png first"),
        ([1, 1], [1], "id 1 is asked for more than once"),
        ([1, 2], [2, 1, 2], "id 2 is predicted more than once"),
    ],
)
def test_what_does_not_match_is_named(ids: list[int], predicted: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rows_of(np.array(ids), np.array(predicted))
