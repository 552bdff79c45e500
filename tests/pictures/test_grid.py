"""Images with lines below them."""

import numpy as np

from imgclf.pictures.grid import captioned
from imgclf.pictures.lettering import BLUE, INK, shortened, width_of


def test_every_image_is_there_enlarged_and_in_its_row() -> None:
    colours = [(200, 10, 10), (10, 200, 10), (10, 10, 200)]
    images = np.array(colours, dtype=np.uint8)[:, None, None].repeat(28, axis=1).repeat(28, axis=2)
    picture = captioned(images, [[("name", INK)]] * 3, columns=2, title="three")
    places = {}
    for colour in colours:
        rows, columns = np.nonzero((picture == colour).all(axis=2))
        assert len(rows) == 84 * 84
        places[colour] = rows.min(), columns.min()
    first, second, third = (places[colour] for colour in colours)
    assert first[0] == second[0] < third[0]
    assert first[1] == third[1] < second[1]


def test_captions_have_their_colour_and_long_ones_stay_below_their_image() -> None:
    images = np.zeros((2, 28, 28, 3), dtype=np.uint8)
    picture = captioned(images, [[("a very long name of a class " * 3, BLUE)], [("", INK)]], columns=2, title="")
    columns = np.nonzero((picture == BLUE).all(axis=2).any(axis=0))[0]
    assert len(columns) > 0
    assert columns.max() < picture.shape[1] // 2


def test_no_image_leaves_the_title() -> None:
    picture = captioned(np.zeros((0, 28, 28, 3), dtype=np.uint8), [], columns=4, title="no mistakes")
    assert picture.shape[0] < 60
    assert (picture < 128).any()


def test_what_is_too_long_ends_in_dots() -> None:
    assert shortened("shirt", 100) == "shirt"
    short = shortened("a name that is far too long for that", 60)
    assert short.startswith("a na")
    assert short.endswith("...")
    assert width_of(short) <= 60
