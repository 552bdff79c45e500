"""Pictures of what a network is fed."""

from typing import Any

import numpy as np
import pytest
import torch

from imgclf.callbacks.inputs import Inputs
from imgclf.data.transforms import resize
from imgclf.errors import InputError
from imgclf.pictures.grid import captioned
from imgclf.pictures.lettering import INK


class Inverted:
    """An augmentation that can be seen: black is white."""

    def __call__(self, images: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        return 255 - images


def test_training_images_are_shown_augmented_and_validation_images_as_they_are(fit: Any, told: Any) -> None:
    told.augmentations, told.shuffle = [Inverted()], False
    board = fit(told, Inputs(images=3, columns=4, every_n_epochs=1))
    names = [[(f"class {label}", INK)] for label in told.stored.labels[:3].tolist()]
    white = np.full((3, 8, 8, 3), 255, dtype=np.uint8)
    assert np.array_equal(board.image("inputs/train"), captioned(white, names, 4, "train: 1 x 8 x 8 pixels"))
    stored = told.stored.images[7:10].numpy().transpose(0, 2, 3, 1).repeat(3, axis=3)
    expected = captioned(stored, names, 4, "validation: 1 x 8 x 8 pixels")
    assert np.array_equal(board.image("inputs/validation"), expected)


def test_normalised_and_resized_images_are_shown_at_the_size_that_the_network_sees(fit: Any, told: Any) -> None:
    told.resize, told.mean, told.std = 6, [0.3], [0.2]
    board = fit(told, Inputs(images=2, columns=4, every_n_epochs=1))
    fed = resize(told.stored.images[7:9].float(), 6).add(0.5).to(torch.uint8).numpy()
    names = [[("class 0", INK)]] * 2
    expected = captioned(fed.transpose(0, 2, 3, 1).repeat(3, axis=3), names, 4, "validation: 1 x 6 x 6 pixels")
    difference = board.image("inputs/validation").astype(int) - expected
    assert np.abs(difference).max() <= 1  # rounding


def test_the_first_of_every_so_many_epochs_is_drawn(fit: Any, told: Any) -> None:
    board = fit(told, Inputs(images=2, columns=2, every_n_epochs=2), max_epochs=4)
    assert board.image_steps("inputs/train") == [0, 4]  # two steps an epoch
    assert board.image_steps("inputs/validation") == [1, 5]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match=r"inputs\.images must be at least 1, got 0"):
        Inputs(images=0, columns=1, every_n_epochs=1)
    with pytest.raises(InputError, match=r"inputs\.every_n_epochs"):
        Inputs(images=1, columns=1, every_n_epochs=0)
