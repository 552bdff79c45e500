"""Transforming whole batches does to each image what torchvision's transforms do one at a time."""

from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as tv
from torch import Tensor
from torchvision.transforms import v2

import imgclf
from imgclf.data.chapter import ChapterAugmentation
from imgclf.data.transforms import ColorJitter, PadCropFlip, RandomErasing, RandomResizedCrop, batched, mixer, to_float
from imgclf.errors import InputError

ALL: list[Any] = [
    *(ChapterAugmentation(), PadCropFlip(), PadCropFlip(mode="constant"), RandomResizedCrop()),
    *(ColorJitter(), RandomErasing(1.0)),
]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, size: int = 32) -> Tensor:
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=seeded(7))


@pytest.mark.parametrize("transform", ALL, ids=lambda t: type(t).__name__)
def test_shape_range_repeatability_and_a_draw_for_each_image(transform: Any) -> None:
    for n in (0, 1, 70):
        images = noise(n)
        before = images.clone()
        result = transform(images, seeded(3))
        assert result.shape == images.shape
        assert torch.equal(images, before), "the caller's images stay"
        assert torch.equal(result, transform(images, seeded(3)))
    assert 0 <= result.min() <= result.max() <= 255.001
    same = noise(1).expand(64, 3, 32, 32)
    assert len(torch.unique(transform(same, seeded()).flatten(1), dim=0)) > 50
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(transform(images, seeded(3)), result), "no loss of precision"


def test_the_chapters_crops_are_torchvisions() -> None:
    """Some crop of torchvision's, enlarged, cut and brought back, has the very pixels."""
    image = noise(1)
    large = tv.resize(image[0].float(), [40, 40], antialias=True)
    places = [(side, y, x) for side in range(32, 41) for y in range(41 - side) for x in range(41 - side)]
    crops = torch.stack([tv.resized_crop(large, y, x, s, s, [32, 32], antialias=True) for s, y, x in places])
    for made in ChapterAugmentation()(image.expand(12, 3, 32, 32), seeded()):
        assert (made - torch.cat([crops, crops.flip(3)])).abs().amax((1, 2, 3)).min() < 5e-3  # of 255


def test_pad_crop_flip_takes_windows_of_the_padded_image() -> None:
    image = noise(1, 8)
    for mode in ("reflect", "replicate", "constant"):
        padded = torch.nn.functional.pad(image.float(), [2] * 4, mode=mode).to(torch.uint8)[0]
        windows = {
            (padded[:, y : y + 8, x : x + 8].flip(2) if flip else padded[:, y : y + 8, x : x + 8])
            .contiguous().numpy().tobytes(): (y, x, flip)
            for y in range(5) for x in range(5) for flip in (0, 1)
        }  # fmt: skip
        made = PadCropFlip(2, 0.5, mode)(image.expand(2000, 3, 8, 8), seeded())
        found = np.array([windows[m.contiguous().numpy().tobytes()] for m in made])  # a KeyError is a failure
        assert len(np.unique(found, axis=0)) == 50, "every place, mirrored and not"
        assert abs(found[:, 2].mean() - 0.5) < 0.05


def test_crops_are_of_the_share_asked_for_and_colours_stay_in_range() -> None:
    ramps = torch.stack(torch.meshgrid(torch.arange(0.0, 101), torch.arange(0.0, 101), indexing="ij"))[None]
    crops = RandomResizedCrop(min_area=0.9, max_area=0.9)(ramps.expand(50, 2, 101, 101), seeded())
    sides = crops.amax((2, 3)) - crops.amin((2, 3))
    torch.testing.assert_close(sides.prod(dim=1) / 100**2, torch.full((50,), 0.9), rtol=0, atol=0.01)
    red = torch.tensor([255.0, 0, 0]).view(1, 3, 1, 1).expand(50, 3, 1, 1)
    assert ColorJitter(0, 0)(red, seeded()).aminmax() == (0, 255)


def test_several_in_their_order_and_torchvisions_own() -> None:
    images = noise(8)
    flip, invert, crop = map(batched, (PadCropFlip(0, 1.0), v2.RandomInvert(p=1.0), v2.RandomCrop(32, padding=4)))
    assert torch.equal(invert(flip(images, seeded()), seeded()), 255 - images.flip(3))
    drawn = crop(noise(1).expand(30, 3, 32, 32), seeded(1))
    assert len(torch.unique(drawn.flatten(1), dim=0)) > 20, "each image has its own draw"
    torch.manual_seed(99)
    assert torch.equal(drawn, crop(noise(1).expand(30, 3, 32, 32), seeded(1)))


def test_mixing_keeps_the_shares_of_labels() -> None:
    images, labels = torch.eye(4).view(4, 4, 1, 1).expand(4, 4, 8, 8).contiguous(), torch.arange(4)  # a channel each
    for kind in ("mixup", "cutmix"):
        torch.manual_seed(0)
        assert mixer(kind, 0.0, 4)(images, labels)[1] is labels
        mixed, shares = map(torch.cat, zip(*(mixer(kind, 1.0, 4)(images, labels) for _ in range(9)), strict=True))
        torch.testing.assert_close(mixed.mean(dim=(2, 3)), shares)
        assert shares.max(dim=1).values.min() < 0.99, "mixed at all"


def test_normalising_and_resizing_are_torchvisions() -> None:
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    images, pixels = noise(5), torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(to_float(images, mean, std), tv.normalize(images / 255, mean, std), rtol=0, atol=2e-6)
    for size in (96, 14):
        made, right = imgclf.data.transforms.resize(pixels, size), tv.resize(pixels, [size, size], antialias=True)
        torch.testing.assert_close(made, right)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match=r"mode=wrap: (.|\n)*enlarge=0\.9: "):
        imgclf.compose(["data.augmentations.chapter.enlarge=0.9", "data.augmentations.pad_crop_flip.mode=wrap"])
    with pytest.raises(InputError, match=r"min_area=0\.9"):
        ChapterAugmentation(min_area=0.9, max_area=0.8)
    with pytest.raises(InputError, match="pad_pixels"):
        PadCropFlip(pad_pixels=32)(noise(1))
