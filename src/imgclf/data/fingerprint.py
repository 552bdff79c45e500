"""Telling whether two runs saw the same images, at little cost however many there are."""

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
