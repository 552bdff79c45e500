"""What images are: whether two runs saw the same ones, and the mean and spread of their pixels."""

import hashlib
from typing import Any

import torch

from imgclf.data.batches import ImageArray

WHOLE_BYTES = 64 * 2**20
SAMPLED_IMAGES = 4096


def fingerprint(images: ImageArray) -> dict[str, Any]:
    """Shape, type and a digest of stored images and their labels, for run.json.

    All pixels count where they take at most 64 MiB, which is a tenth of a second's work; of more images,
    4,096 evenly spaced ones, so that memory-mapped files need not be read as a whole. All labels count.

    Returns:
        ``images`` [n, c, h, w], ``type``, ``digest`` (BLAKE2b, RFC 7693; 16 hexadecimal digits), and ``of``, how many
        images it was taken of.
    """
    pixels = images.images
    if pixels.numel() * pixels.element_size() > WHOLE_BYTES and len(pixels) > SAMPLED_IMAGES:
        # In whole numbers: the same positions on every machine, the first and the last among them.
        positions = torch.arange(SAMPLED_IMAGES) * (len(pixels) - 1) // (SAMPLED_IMAGES - 1)
        pixels = pixels.index_select(0, positions)
    digest = hashlib.blake2b(digest_size=8)
    for part in (pixels, images.labels):
        digest.update(f"{part.dtype} {list(part.shape)}".encode())
        digest.update(part.contiguous().numpy().data)
    return {
        "images": list(images.images.shape),
        "type": str(images.images.dtype).removeprefix("torch."),
        "digest": digest.hexdigest(),
        "of": len(pixels),
    }


def mean_and_std(images: ImageArray) -> tuple[list[float], list[float]]:
    """By channel, of the pixels in [0, 1], to four digits; each image is read once, a thousand at a time."""
    counts = torch.zeros(images.images.shape[1], 256, dtype=torch.float64)
    for first in range(0, len(images), 1024):
        pixels, _ = images[torch.arange(first, min(first + 1024, len(images)))]
        for channel, values in enumerate(pixels.transpose(0, 1)):
            counts[channel] += torch.bincount(values.flatten(), minlength=256)
    share = counts / counts.sum(1, keepdim=True)
    value = torch.arange(256, dtype=torch.float64) / 255
    mean = share @ value
    std = (share @ value**2 - mean**2).clamp(min=1e-6).sqrt()
    return [round(float(m), 4) for m in mean], [round(float(s), 4) for s in std]
