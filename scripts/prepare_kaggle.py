"""Unpack and check Kaggle's CIFAR-10 competition; `--help` lists the arguments."""

import sys

from imgclf.errors import InputError
from imgclf.images.prepare_cli import USAGE, parse


def main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(USAGE, end="")
        return
    options = parse(sys.argv[1:])

    from imgclf.images.prepare import prepare_kaggle

    print(prepare_kaggle(options.archive, options.dir, demo=options.demo))
    if options.tree:
        from imgclf.images.tree import make_tree

        print(make_tree(options.dir, options.valid_ratio, options.seed, copy=options.copy))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
