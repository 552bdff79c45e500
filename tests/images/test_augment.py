"""Augmenting whole batches does to each image what torchvision's transforms do one at a time."""

import numpy as np
import pytest
import torch
import torchvision.transforms as per_image
import torchvision.transforms.functional as tv

from imgclf.errors import InputError
from imgclf.images.augment import ChapterAugmentation, NoAugmentation, PadCropFlip
from imgclf.images.pixels import to_float


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, size, size), dtype=torch.uint8, generator=seeded(7))


def one_at_a_time(images, resize_to, top, left, side, flip):
    """The same crops with torchvision, in floats."""
    results = []
    for image, t, l, k, mirrored in zip(images.float(), top, left, side, flip, strict=True):  # noqa: E741
        size = list(image.shape[1:])
        large = tv.resize(image, [resize_to, resize_to], antialias=True)
        crop = tv.resized_crop(large, int(t), int(l), int(k), int(k), size, antialias=True)
        results.append(tv.hflip(crop) if mirrored else crop)
    return torch.stack(results)


@pytest.mark.parametrize(
    ("size", "resize_to", "min_area"),
    [(32, 40, 0.64), (32, 40, 0.08), (28, 28, 0.25), (96, 120, 0.64), (32, 20, 0.5)],
)
def test_the_same_crop_gives_the_same_pixels_as_torchvision(size, resize_to, min_area):
    images = noise(70, size)
    chapter = ChapterAugmentation(resize_to, min_area)
    crops = chapter.draw(70, images.device, seeded())
    expected = one_at_a_time(images, resize_to, *crops)
    torch.testing.assert_close(chapter.apply(images, *crops), expected, rtol=0, atol=5e-3)  # of 255


def test_against_pillow_only_its_rounding_to_bytes_differs():
    images = noise(50)
    chapter = ChapterAugmentation()
    crops = chapter.draw(50, images.device, seeded())
    result = chapter.apply(images, *crops)
    for image, ours, t, l, k, mirrored in zip(images, result, *crops, strict=True):  # noqa: E741
        large = tv.resize(tv.to_pil_image(image), [40, 40])
        crop = tv.resized_crop(large, int(t), int(l), int(k), int(k), [32, 32])
        theirs = tv.pil_to_tensor(tv.hflip(crop) if mirrored else crop).float()
        assert (ours - theirs).abs().max() < 3  # of 255, rounded twice
        assert (ours - theirs).abs().mean() < 0.5


def test_crops_are_spread_as_torchvision_spreads_them():
    n = 20_000
    top, left, side, flip = ChapterAugmentation().draw(n, torch.device("cpu"), seeded())
    torch.manual_seed(0)
    large = torch.empty(3, 40, 40)
    theirs = np.array(
        [per_image.RandomResizedCrop.get_params(large, [0.64, 1.0], [1.0, 1.0]) for _ in range(n)]
    )  # rows of top, left, height, width
    assert (theirs[:, 2] == theirs[:, 3]).all()
    for ours, column in ((side, 2), (top, 0), (left, 1)):
        a = np.bincount(ours.numpy(), minlength=41) / n
        b = np.bincount(theirs[:, column], minlength=41) / n
        assert np.abs(a - b).max() < 0.015  # over four standard errors of a share of one half
    assert (top + side).max() == 40 == (left + side).max()
    assert (top.min(), left.min(), side.min(), side.max()) == (0, 0, 32, 40)
    assert abs(flip.float().mean() - 0.5) < 0.015
    # The place follows the side, and down follows across, only as far as torchvision's do.
    ours = np.corrcoef(np.stack([top, left, side]))
    np.testing.assert_allclose(ours, np.corrcoef(theirs[:, [0, 1, 2]].T), atol=0.03)


def test_many_augmentations_of_one_image_have_torchvisions_mean_and_variance():
    torch.manual_seed(0)
    ramp = torch.linspace(0, 255, 32)
    image = torch.stack([ramp.expand(32, 32), ramp.expand(32, 32).T, noise(1)[0, 0].float()]).to(torch.uint8)
    n = 3000
    pipeline = per_image.Compose(
        [
            per_image.Resize(40),
            per_image.RandomResizedCrop(32, scale=(0.64, 1.0), ratio=(1.0, 1.0)),
            per_image.RandomHorizontalFlip(),
        ]
    )
    pil = tv.to_pil_image(image)
    theirs = torch.stack([tv.pil_to_tensor(pipeline(pil)) for _ in range(n)]).float()
    ours = ChapterAugmentation()(image.expand(n, 3, 32, 32), seeded())
    error = theirs.std(0) / n**0.5  # of each pixel's mean
    assert ((ours.mean(0) - theirs.mean(0)).abs() < 6 * error + 0.5).all()
    assert (ours.std(0) - theirs.std(0)).abs().mean() < 1.5


def test_each_image_has_its_own_draw():
    same = noise(1).expand(64, 3, 32, 32)
    for augmentation in (ChapterAugmentation(), PadCropFlip()):
        assert len(torch.unique(augmentation(same, seeded()).flatten(1), dim=0)) > 50


@pytest.mark.parametrize(
    "augmentation", [NoAugmentation(), ChapterAugmentation(), PadCropFlip(), PadCropFlip(2, 0.5, "replicate")]
)
@pytest.mark.parametrize("n", [0, 1, 200])
def test_shape_range_and_repeatability(augmentation, n):
    images = noise(n)
    before = images.clone()
    result = augmentation(images, seeded(3))
    assert result.shape == images.shape
    assert torch.equal(images, before)
    assert torch.equal(result, augmentation(images, seeded(3)))
    if n:
        assert 0 <= result.min() <= result.max() <= 255.001
        torch.manual_seed(3)
        assert torch.equal(augmentation(images), result)  # None means the global generator


@pytest.mark.parametrize("augmentation", [ChapterAugmentation(), PadCropFlip(), PadCropFlip(mode="replicate")])
def test_it_may_come_before_or_after_normalisation(augmentation):
    images, mean, std = noise(20), (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    before = to_float(augmentation(images, seeded()), mean, std)
    after = augmentation(to_float(images, mean, std), seeded())
    torch.testing.assert_close(before, after, rtol=0, atol=1e-4)


def test_types_chapter_gives_floats_padding_keeps_the_type():
    assert ChapterAugmentation()(noise(2)).dtype == torch.float32
    assert ChapterAugmentation()(noise(2).half()).dtype == torch.float16
    assert PadCropFlip()(noise(2)).dtype == torch.uint8
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = ChapterAugmentation()(noise(9), seeded())
    assert torch.equal(under, ChapterAugmentation()(noise(9), seeded()))  # no loss of precision


def test_nothing_random_left_means_the_image_itself():
    images = noise(5)
    same = ChapterAugmentation(resize_to=32, min_area=1.0, flip_probability=0.0)(images)
    torch.testing.assert_close(same, images.float())
    assert torch.equal(PadCropFlip(0, 0.0)(images), images)
    assert torch.equal(PadCropFlip(0, 1.0)(images), images.flip(3))
    torch.testing.assert_close(ChapterAugmentation(32, 1.0, 1.0, 1.0)(images), images.float().flip(3))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "constant"])
def test_pad_crop_flip_takes_windows_of_the_padded_image(mode):
    image = noise(1)
    padded = torch.nn.functional.pad(image.float(), [4] * 4, mode=mode).to(torch.uint8)
    windows = {
        bytes(window.contiguous().numpy()): (top, left, mirrored)
        for mirrored in (False, True)
        for top in range(9)
        for left in range(9)
        for window in [
            padded[0, :, top : top + 32, left : left + 32].flip(2)
            if mirrored
            else padded[0, :, top : top + 32, left : left + 32]
        ]
    }
    results = PadCropFlip(4, 0.5, mode)(image.expand(4000, 3, 32, 32), seeded())
    found = np.array([windows[bytes(result.contiguous().numpy())] for result in results])  # a KeyError is a failure
    assert len(np.unique(found, axis=0)) == 162  # every place, mirrored and not
    for column in (0, 1):
        assert np.abs(np.bincount(found[:, column]) / 4000 - 1 / 9).max() < 0.025
    assert abs(found[:, 2].mean() - 0.5) < 0.04


def test_images_need_not_be_square():
    images = noise(6)[:, :, :24]
    assert PadCropFlip()(images).shape == images.shape
    chapter = ChapterAugmentation()
    crops = chapter.draw(6, images.device, seeded())
    torch.testing.assert_close(chapter.apply(images, *crops), one_at_a_time(images, 40, *crops), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ChapterAugmentation(resize_to=0), "resize_to must be at least 1 pixel, got 0"),
        (lambda: ChapterAugmentation(min_area=0), "got 0 and 1"),
        (lambda: ChapterAugmentation(min_area=0.9, max_area=0.8), "got 0.9 and 0.8"),
        (lambda: ChapterAugmentation(flip_probability=1.5), "flip_probability must lie in"),
        (lambda: PadCropFlip(pad_pixels=-1), "pad_pixels must be at least 0, got -1"),
        (lambda: PadCropFlip(mode="wrap"), "got 'wrap'"),
        (lambda: PadCropFlip(pad_pixels=32)(noise(1)), "pad_pixels below the image's side"),
    ],
)
def test_hyperparameters_that_make_no_sense_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
