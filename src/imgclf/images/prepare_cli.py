"""The command line of scripts/prepare_kaggle.py: key=value arguments, checked before anything is done."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from imgclf.errors import InputError

USAGE = """\
Unpack and check Kaggle's CIFAR-10 competition (https://www.kaggle.com/c/cifar-10).

  uv run scripts/prepare_kaggle.py archive=PATH/cifar-10.zip dir=data/cifar-10

  archive=PATH      the competition's zip; left out, it is looked for in dir, as cifar-10.zip or unpacked once
                    (train.7z, test.7z, trainLabels.csv, sampleSubmission.csv)
  dir=PATH          where train/, test/ and the two lists go (default: data/cifar-10)
  demo=true         the chapter's sample of 1,000 images instead, downloaded if it is not in dir
  tree=true         also make train_valid_test/, the folders that torchvision's ImageFolder reads, of hard links
  valid_ratio=0.1   part of the smallest class that each class gives to validation in that tree
  seed=0            seed of that split
  copy=true         copy instead of linking, on a disk that knows no hard links

It can be run again at any time: what is there and whole is kept.
"""


@dataclass(frozen=True)
class Options:
    """The arguments, with the meaning that USAGE gives."""

    archive: Path | None = None
    dir: Path = Path("data/cifar-10")
    demo: bool = False
    tree: bool = False
    valid_ratio: float = 0.1
    seed: int = 0
    copy: bool = False


def parse(arguments: Sequence[str]) -> Options:
    """Read key=value arguments; raises InputError for an unknown key, one given twice, or a value of another
    type.
    """
    known = [field.name for field in fields(Options)]
    values: dict[str, object] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if key not in known:
            near = difflib.get_close_matches(key.lstrip("-"), known, n=1)
            hint = f" Did you mean {near[0]}=?" if near else ""
            raise InputError(f"unknown argument {argument!r}.{hint} Known: {', '.join(known)}; --help explains them.")
        if not equals or not text:
            raise InputError(f"{key} needs a value: {key}=VALUE")
        if key in values:
            raise InputError(f"{key} is given twice; give it once.")
        values[key] = _value(key, text)
    return Options(**values)  # type: ignore[arg-type]


def _value(key: str, text: str) -> object:
    default = getattr(Options, key)
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise InputError(f"{key} must be true or false, got {text!r}")
        return text.lower() == "true"
    if isinstance(default, (int, float)):
        try:
            value = type(default)(text)
        except ValueError:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise InputError(f"{key} must be {kind}, got {text!r}") from None
        if key == "seed" and value < 0:
            raise InputError(f"seed must be at least 0, got {value}")
        if key == "valid_ratio" and not 0 < value < 1:
            raise InputError(f"valid_ratio must lie in (0, 1), got {text}")
        return value
    return Path(text).expanduser()
