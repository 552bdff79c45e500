"""Unpack and check Kaggle's CIFAR-10 competition; `--help` lists the arguments."""

from imgclf.cli import main

if __name__ == "__main__":
    main("prepare_kaggle")
