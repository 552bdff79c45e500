"""Make the small balanced part of Fashion-MNIST that ships with the package, the same bytes each time.

uv run scripts/make_fashion_mnist_mini.py FOLDER [--to FOLDER]
"""

import argparse
from pathlib import Path

from imgclf.images.fashion_mnist import fashion_mnist_mini_folder
from imgclf.images.fashion_mnist_mini import make_mini

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the part of Fashion-MNIST that ships with the package.")
    parser.add_argument("source", type=Path, help="folder with the four full IDX files, plain or gzipped")
    parser.add_argument("--to", type=Path, default=fashion_mnist_mini_folder(), help="where to write")
    arguments = parser.parse_args()
    for file, digest in make_mini(arguments.source, arguments.to).items():
        print(f"{file.stat().st_size:>9,} bytes  {digest}  {file}")
