"""From bytes to normalised floats, and to another size."""

import pytest
import torch
import torchvision.transforms.functional as tv

from imgclf.errors import InputError
from imgclf.images.pixels import resize, to_float

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def bytes_like(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_normalisation_by_hand():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    torch.testing.assert_close(to_float(images, [0.2], [0.5]).flatten(), torch.tensor([-0.4, 0.0, 1.6]))


def test_it_is_torchvisions_normalisation():
    images = bytes_like(5, 3, 8, 8)
    expected = tv.normalize(images.float() / 255, MEAN, STD)
    torch.testing.assert_close(to_float(images, MEAN, STD), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_the_callers_images_stay_as_they_are(dtype):
    images = bytes_like(2, 3, 4, 4).to(dtype)
    before = images.clone()
    result = to_float(images, MEAN, STD)
    assert torch.equal(images, before)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, to_float(before.to(torch.uint8), MEAN, STD))


def test_first_use_under_inference_mode_does_not_spoil_training():
    mean = (0.123, 0.4, 0.4)
    with torch.inference_mode():
        to_float(bytes_like(1, 3, 2, 2), mean, STD)
    images = torch.rand(1, 3, 2, 2, requires_grad=True)
    to_float(images, mean, STD).sum().backward()
    assert images.grad is not None


@pytest.mark.parametrize(
    ("shape", "mean", "std", "message"),
    [
        ((2, 1, 4, 4), MEAN, STD, "each of the c channels"),
        ((3, 4, 4), MEAN, STD, "must be"),
        ((2, 3, 4, 4), MEAN, (1, 0, 1), "std must be above 0"),
    ],
)
def test_a_mean_that_does_not_fit_is_refused(shape, mean, std, message):
    with pytest.raises(InputError, match=message):
        to_float(bytes_like(*shape), mean, std)


def test_resizing_is_torchvisions_antialiased_one():
    images = torch.rand(2, 1, 28, 28)
    for size in (96, 14, (10, 40)):
        expected = tv.resize(images, [size, size] if isinstance(size, int) else list(size), antialias=True)
        torch.testing.assert_close(resize(images, size), expected)
    assert resize(images, 28) is images
    torch.testing.assert_close(resize(torch.full((1, 1, 5, 5), 0.3), 9), torch.full((1, 1, 9, 9), 0.3))
