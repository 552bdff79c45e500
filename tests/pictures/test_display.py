"""Pixels from what a network is fed, worked out by hand."""

import numpy as np
import pytest

from imgclf.pictures.display import LARGEST_TILE, SMALLEST_TILE, displayable, tile


def test_normalisation_is_undone_to_the_very_bytes() -> None:
    stored = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    fed = (stored.astype(np.float32) / 255 - 0.286) / 0.353
    assert np.array_equal(displayable(fed, [0.286], [0.353]), stored.transpose(0, 2, 3, 1).repeat(3, axis=3))


def test_each_channel_has_its_own_mean_and_deviation() -> None:
    fed = np.array([1.0, -1.0, 0.0], dtype=np.float32).reshape(1, 3, 1, 1)
    # 0.5 + 0.1, 0.4 - 0.2 and 0.3, times 255
    assert displayable(fed, [0.5, 0.4, 0.3], [0.1, 0.2, 0.3]).ravel().tolist() == [153, 51, 77]


def test_one_mean_serves_a_grey_channel_that_is_repeated() -> None:
    fed = np.zeros((1, 3, 2, 2), dtype=np.float32)
    assert (displayable(fed, [0.2], [1.0]) == 51).all()


def test_without_a_known_normalisation_an_image_is_stretched() -> None:
    fed = np.array([-3.0, 0.0, 1.0, 2.0], dtype=np.float32).reshape(1, 1, 2, 2)
    assert displayable(fed, None, None)[..., 0].ravel().tolist() == [0, 153, 204, 255]


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channels_than_three_become_grey(channels: int) -> None:
    shown = displayable(np.random.default_rng(0).random((2, channels, 5, 4)), [0.0], [1.0])
    assert shown.shape == (2, 5, 4, 3)
    assert np.array_equal(shown[..., 0], shown[..., 2])


def test_what_lies_outside_and_what_is_no_number_is_shown_as_an_end() -> None:
    fed = np.array([-9.0, 9.0, np.nan, np.inf], dtype=np.float32).reshape(1, 1, 2, 2)
    assert displayable(fed, [0.5], [0.1])[..., 0].ravel().tolist() == [0, 255, 0, 255]


@pytest.mark.parametrize(("side", "shown"), [(1, 84), (28, 84), (32, 96), (96, 96), (168, 168), (224, 168)])
def test_small_images_grow_by_whole_factors_and_large_ones_shrink(side: int, shown: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    found = tile(image)
    assert found.shape == (shown, shown, 3)
    assert SMALLEST_TILE <= shown <= LARGEST_TILE
    if side < shown:
        factor = shown // side
        assert np.array_equal(found[::factor, ::factor], image)
