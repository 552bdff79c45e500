"""The wrong images of a network whose predictions are known."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imgclf.callbacks.mistakes import Mistakes
from imgclf.errors import InputError
from imgclf.pictures.grid import captioned
from imgclf.pictures.lettering import INK, VERMILLION


def probability(lead: int) -> str:
    """Of the class whose logit leads those of two others by so much, in per cent."""
    return f"{100 * math.exp(lead) / (math.exp(lead) + 2):.0f} %"


def expected(told: Any, wrong: list[tuple[int, int, int, int]], title: str) -> Any:
    """The grid of images (number, lead, predicted class, true class)."""
    count = len(told.stored) // 2
    images = told.stored.images[[count + number for number, *_ in wrong]].numpy()
    shown = images.transpose(0, 2, 3, 1).repeat(3, axis=3)
    captions = [
        [(f"{probability(lead)} class {predicted}", VERMILLION), (f"is class {true}", INK)]
        for _, lead, predicted, true in wrong
    ]
    return captioned(shown, captions, 4, title)


class Diverged(nn.Module):
    """Gives logits that are no numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(math.nan))

    def forward(self, images: Tensor) -> Tensor:
        return images[:, 0, 0, :3] * self.scale


WRONG = [(5, 5, 0, 2), (2, 3, 1, 0), (6, 1, 1, 2)]


def test_the_wrong_images_come_surest_first_with_both_names(fit: Any, told: Any) -> None:
    board = fit(told, Mistakes(images=16, columns=4, every_n_epochs=1))
    title = "3 most confident of 3 mistakes among 7 images"
    assert np.array_equal(board.image("validation/mistakes"), expected(told, WRONG, title))


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_the_batches_do_not_matter_where_there_is_room_for_two(batch: int, fit: Any, told: Any) -> None:
    told.eval_batch_size = batch
    board = fit(told, Mistakes(images=2, columns=4, every_n_epochs=1))
    title = "2 most confident of 3 mistakes among 7 images"
    assert np.array_equal(board.image("validation/mistakes"), expected(told, WRONG[:2], title))


def test_a_network_without_mistakes_gets_a_title(fit: Any, told: Any) -> None:
    told.stored.labels[7:] = told.stored.images[7:, 0, 0, :3].argmax(dim=1)
    board = fit(told, Mistakes(images=4, columns=4, every_n_epochs=1))
    title = "0 most confident of 0 mistakes among 7 images"
    assert np.array_equal(board.image("validation/mistakes"), expected(told, [], title))


def test_a_network_that_has_diverged_is_drawn_too(fit: Any, told: Any) -> None:
    board = fit(told, Mistakes(images=4, columns=4, every_n_epochs=1), net=Diverged())
    assert board.image_steps("validation/mistakes") == [1]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match=r"mistakes\.images must be at least 1, got 0"):
        Mistakes(images=0, columns=4, every_n_epochs=1)
    with pytest.raises(InputError, match=r"mistakes\.columns must be at least 1, got -1"):
        Mistakes(images=1, columns=-1, every_n_epochs=1)
