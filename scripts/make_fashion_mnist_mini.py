"""How the images that ship with the package were made: ``uv run scripts/make_fashion_mnist_mini.py DIR``.

The first 1,000 training and 200 test images of each class, in their order, of the full files in DIR.
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np

from imgclf.data.fashion_mnist import FILES, MINI, read_part

if __name__ == "__main__":
    arrays: list[np.ndarray] = []
    for part, count in (("train", 1000), ("t10k", 200)):
        images, labels = read_part(Path(sys.argv[1]), part)
        chosen = np.sort(np.concatenate([np.flatnonzero(labels == label)[:count] for label in range(10)]))
        arrays += [images[chosen, 0], labels[chosen].astype(np.uint8)]
    for name, array in zip(FILES, arrays, strict=True):
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        (MINI / f"{name}.gz").write_bytes(gzip.compress(header + array.tobytes(), 9, mtime=0))
