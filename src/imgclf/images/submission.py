"""The answer to a Kaggle competition: submission.csv."""

import csv
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from imgclf.errors import InputError


def rows_of(ids: NDArray[np.int64], predicted_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where, among the predictions, each wanted id stands.

    Args:
        ids: int64 (m,), the ids to answer for.
        predicted_ids: int64 (n,), the id of each prediction, in whatever order.

    Returns:
        int64 (m,): ``predicted_ids[rows_of(ids, predicted_ids)]`` equals ``ids``.

    Raises:
        InputError: an id comes twice, or has no prediction, or a prediction is not asked for.
    """
    order = np.argsort(predicted_ids, kind="stable")
    known = predicted_ids[order]
    for name, numbers in (("asked for", np.sort(ids)), ("predicted", known)):
        twice = numbers[1:][numbers[1:] == numbers[:-1]]
        if twice.size:
            raise InputError(f"id {twice[0]} is {name} more than once: every id must come once")
    missing, surplus = np.setdiff1d(ids, known), np.setdiff1d(known, ids)
    if missing.size:
        raise InputError(f"{missing.size} ids have no image, {missing[0]} first: unpack the competition's images again")
    if surplus.size:
        raise InputError(f"{surplus.size} images are not asked for, {surplus[0]}.png first: move them away")
    return order[np.searchsorted(known, ids)].astype(np.int64)


def submission(ids: NDArray[np.int64], labels: NDArray[np.int64], class_names: Sequence[str]) -> str:
    """The file's text: header ``id,label``, then a line an id, in their order.

    Args:
        ids: int64 (m,).
        labels: int64 (m,), positions in ``class_names``.
        class_names: of each class.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "label"])
    writer.writerows((number, class_names[label]) for number, label in zip(ids.tolist(), labels.tolist(), strict=True))
    return text.getvalue()
