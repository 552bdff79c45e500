"""What is compared with what, and how often."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from imgclf.errors import InputError

Part = Literal[
    "training", "loading", "augmentation", "decoding", "evaluation", "prediction", "start", "pictures", "growth"
]
PARTS: tuple[Part, ...] = (
    "training",
    "loading",
    "augmentation",
    "decoding",
    "evaluation",
    "prediction",
    "start",
    "pictures",
    "growth",
)


@dataclass(frozen=True)
class Case:
    """One training that is compared.

    Args:
        overrides: as given to scripts/train.py, by key.
        epochs: how many; the first is not counted.
        batches: steps an epoch, for slow networks; None for whole epochs, which then count with all that happens
            between them but validation.
        pictures: whether the images are the made-up PNG files.
    """

    overrides: Mapping[str, str | int | float]
    epochs: int
    batches: int | None = None
    pictures: bool = False


@dataclass
class Comparison:
    """One row of the table: ways to do the same thing, each a function that measures once.

    Args:
        name: what is done.
        unit: of the numbers: ``images/s``; or ``s`` or ``MB``, of which less is better.
        ways: ``plain``, ``product`` and ``limit``, as far as there are such.
        values: what each measured, one number a round.
    """

    name: str
    unit: str
    ways: dict[str, Callable[[], float]]
    values: dict[str, list[float]] = field(default_factory=dict)

    def measure(self, round_number: int) -> None:
        """Measure each way once; the order turns from round to round, so that drift of the machine favours none."""
        names = list(self.ways)
        shift = round_number % len(names)
        for name in names[shift:] + names[:shift]:
            self.values.setdefault(name, []).append(self.ways[name]())


class Plan:
    """The comparisons of one benchmark.

    Args:
        parts: which of them.
        rounds: measurements of each way.
        plain_workers: processes of the chapters' loader for Fashion-MNIST.
        images: labelled PNG files to make up; a fifth as many without label are made up too.
        seconds: least time of a measurement of loading, augmentation or decoding, which is repeated until then.
        growth: numbers of memory-mapped images of 28 x 28 pixels to train a small network on.
        training: cases by name; ``mlp`` also serves loading and start-up, ``resnet18`` evaluation and prediction.
        pictures: the case that is trained with and without what TensorBoard is shown.

    Raises:
        InputError: a part is unknown, a case is missing, or a number is too small.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        rounds: int,
        plain_workers: int,
        images: int,
        seconds: float,
        growth: Sequence[int],
        training: Mapping[str, Case],
        pictures: Case,
    ) -> None:
        unknown = [part for part in parts if part not in PARTS]
        if unknown:
            raise InputError(f"benchmark.parts: there is no {unknown[0]!r}; choose from {', '.join(PARTS)}")
        if rounds < 1:
            raise InputError(f"benchmark.rounds must be at least 1, got {rounds}")
        if images < 100:
            raise InputError(f"benchmark.images must be at least 100, got {images}")
        if seconds < 0:
            raise InputError(f"benchmark.seconds must be at least 0, got {seconds}")
        cases = {f"training.{name}": case for name, case in training.items()} | {"pictures": pictures}
        if short := [name for name, case in cases.items() if case.epochs < 2]:
            raise InputError(f"benchmark.{short[0]}.epochs must be at least 2: the first is not counted")
        for part, case in {
            "loading": "mlp",
            "start": "mlp",
            "evaluation": "resnet18",
            "prediction": "resnet18",
        }.items():
            if part in parts and case not in training:
                raise InputError(f"benchmark.parts has {part}, which needs benchmark.training.{case}")
        self.parts = tuple(parts)
        self.rounds = rounds
        self.seconds = seconds
        self.plain_workers = plain_workers
        self.images = images
        self.growth = tuple(growth)
        self.training = dict(training)
        self.picture_case = pictures
