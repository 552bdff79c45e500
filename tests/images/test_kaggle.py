"""The competition's lists: read in order of id, and refused line by line."""

from pathlib import Path

import numpy as np
import pytest

from imgclf.errors import InputError
from imgclf.images.kaggle import CLASSES, check_images, read_labels, read_submission_ids, submission_ids


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "list.csv"
    file.write_text(text)
    return file


def test_labels_are_positions_in_the_sorted_class_names_in_order_of_id(tmp_path):
    ids, labels = read_labels(write(tmp_path, "id,label\n10,truck\n9,airplane\n1,frog\n"))
    assert list(CLASSES) == sorted(CLASSES)
    assert ids.dtype == labels.dtype == np.int64
    assert ids.tolist() == [1, 9, 10]
    assert labels.tolist() == [6, 0, 9]


def test_submission_ids_keep_the_order_of_the_file_whatever_the_labels_say(tmp_path):
    assert read_submission_ids(write(tmp_path, "id,label\r\n3,cat\r\n1,x\r\n2,\r\n")).tolist() == [3, 1, 2]


def test_without_a_list_the_test_folder_says_which_ids_to_submit(tmp_path, png_bytes):
    (tmp_path / "test").mkdir()
    for number in (10, 9, 1):
        (tmp_path / "test" / f"{number}.png").write_bytes(png_bytes(number))
    assert submission_ids(tmp_path).tolist() == [1, 9, 10]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with the line id,label"),
        ("1,frog\n", "must begin with the line id,label"),
        ("id,label\n", "lists no images"),
        ("id,label\n1,frog\n2,frgo\n", "line 3: unknown class 'frgo'; did you mean 'frog'"),
        ("id,label\n1,frog\n1,cat\n", "lists id 1 more than once"),
        ("id,label\nx,frog\n", "line 2: the id must be a whole number from 1, got 'x'"),
        ("id,label\n0,frog\n", "got '0'"),
        ("id,label\n-1,frog\n", "got '-1'"),
        ("id,label\n1.5,frog\n", "got '1.5'"),
        ("id,label\n99999999999999999999,frog\n", "whole number"),
        ("id,label\n1,frog,cat\n", "line 2: expected id,label"),
        ("id,label\n1\n", "line 2: expected id,label"),
    ],
)
def test_a_bad_list_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as caught:
        read_labels(write(tmp_path, text))
    assert "list.csv" in str(caught.value)


def test_a_list_that_is_missing_or_no_text_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_labels(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"id,label\n\xff\xfe,\x00\n")
    with pytest.raises(InputError, match="no text file"):
        read_labels(tmp_path / "b.csv")


def test_images_and_list_must_fit_each_other(png_folder):
    folder = png_folder(4)
    check_images(folder, np.array([1, 2, 3, 4]), Path("list.csv"))
    with pytest.raises(InputError, match=r"lacks 2 images \(5\.png, 6\.png\) listed in list\.csv"):
        check_images(folder, np.arange(1, 7), Path("list.csv"))
    with pytest.raises(InputError, match=r"holds 1 image \(4\.png\) that list\.csv does not list"):
        check_images(folder, np.arange(1, 4), Path("list.csv"))
