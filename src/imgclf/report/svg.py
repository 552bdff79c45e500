"""Line and dot charts as SVG text, without any library.

A panel has two axes, a clipped area inside them, and marks in data coordinates. All texts are escaped here.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TypeVar

from imgclf.report.text import cut

# Okabe and Ito's colours, which colour-blind readers can tell apart (Color Universal Design, 2008), and four more.
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c510a", "#6a3d9a", "#4d4d4d", "#a6761d",
)  # fmt: skip
GREY = "#c8c8c8"

Point = tuple[float, float]
T = TypeVar("T")


@dataclass(frozen=True)
class Axis:
    """A range of values laid out from 0 to 1.

    Args:
        low: value at 0.
        high: value at 1; above ``low``.
        ticks: (value, label).
        label: of the axis.
        log: logarithmic; ``low`` is above 0 then.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    label: str = ""
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies; 0 to 1 inside the axis."""
        if self.log:
            value = max(value, 1e-300)
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)

    @classmethod
    def of(
        cls,
        values: Iterable[float],
        label: str = "",
        *,
        log: bool = False,
        whole: bool = False,
        at: Iterable[float] = (),
    ) -> "Axis":
        """An axis that holds all finite values, with a margin.

        Args:
            values: to hold; what is not finite or beyond 1e150, and with ``log`` not positive, is left out.
            label: of the axis.
            log: logarithmic.
            whole: mark whole numbers only.
            at: values to mark; round ones where there are none or more than eight.
        """
        good = [v for v in values if (1e-150 < v < 1e150 if log else -1e150 < v < 1e150)]
        low, high = (min(good), max(good)) if good else (1.0, 1.0)
        if log:
            margin = (high / low) ** 0.05 if high / low > 1.01 else 1.5
            low, high = low / margin, high * margin
        else:
            margin = (high - low) * 0.05
            if margin <= 1e-12 * abs(high) or margin < 1e-100:  # all the same
                margin = abs(high) * 0.1 if abs(high) > 1e-100 else 0.5
            low, high = low - margin, high + margin
        marks = sorted(set(at))
        if not 0 < len(marks) <= 8:
            marks = log_ticks(low, high) if log else round_ticks(low, high)
            marks = [mark for mark in marks if mark == int(mark)] if whole else marks
        return cls(low, high, tuple((v, f"{v:g}") for v in marks), label, log)

    @classmethod
    def of_categories(cls, names: Sequence[str], label: str = "") -> "Axis":
        """Places 0, 1, ... with the categories' names."""
        return cls(-0.5, len(names) - 0.5, tuple((float(i), name) for i, name in enumerate(names)), label)


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within a range, ``most`` or fewer."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power * m for m in (1, 2, 5, 10, 20)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Powers of ten within a range; with 2 and 5 times them, or round values, where those are too few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tens = [10.0**p for p in powers if low <= 10.0**p <= high]
    if len(tens) > 2:
        return tens[:: math.ceil(len(tens) / most)]
    fine = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
    return fine if len(fine) > 1 else round_ticks(low, high)


@dataclass
class Panel:
    """One chart.

    Args:
        title: above it.
        x: axis below.
        y: axis on the left.
        width: of the whole, in pixels.
        height: likewise.
    """

    title: str
    x: Axis
    y: Axis
    width: int = 440
    height: int = 270
    _marks: list[str] = field(default_factory=list)

    _LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 26, 46

    @property
    def _inner(self) -> tuple[int, int]:
        return self.width - self._LEFT - self._RIGHT, self.height - self._TOP - self._BOTTOM

    def _at(self, x: float, y: float) -> str:
        """Pixels inside the clipped area, kept near it: viewers overflow on larger numbers."""
        wide, high = self._inner
        across = min(max(self.x.place(x), -10), 11) * wide
        down = (1 - min(max(self.y.place(y), -10), 11)) * high
        return f"{across:.1f},{down:.1f}"

    def line(self, points: Sequence[Point], colour: str, name: str = "", *, dashed: bool = False) -> None:
        """Join points in their order; a value that is not finite leaves a gap, a lone point becomes a dot."""
        title = f"<title>{escape(name)}</title>" if name else ""
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        for stretch in _stretches(points):
            if len(stretch) == 1:
                self.dot(*stretch[0], colour, name)
                continue
            places = " ".join(self._at(x, y) for x, y in _thinned(stretch))
            self._marks.append(f'<polyline points="{places}" stroke="{colour}"{dashes}>{title}</polyline>')

    def band(self, points: Sequence[tuple[float, float, float]], colour: str) -> None:
        """Fill between (x, lower, upper)."""
        good = _thinned([p for p in points if all(map(math.isfinite, p))])
        if len(good) > 1:
            around = [(x, upper) for x, _, upper in good] + [(x, lower) for x, lower, _ in reversed(good)]
            places = " ".join(self._at(x, y) for x, y in around)
            self._marks.append(f'<polygon points="{places}" fill="{colour}" fill-opacity="0.18"/>')

    def dot(
        self, x: float, y: float, colour: str, name: str = "", *, hollow: bool = False, radius: float = 3.5
    ) -> None:
        """A round mark; ``hollow`` for what is not like the others."""
        if math.isfinite(x) and math.isfinite(y):
            across, down = self._at(x, y).split(",")
            style = f'fill="#fff" stroke="{colour}"' if hollow else f'fill="{colour}" fill-opacity="0.6"'
            self._marks.append(
                f'<circle cx="{across}" cy="{down}" r="{radius}" {style}><title>{escape(name)}</title></circle>'
            )

    def svg(self) -> str:
        """The chart."""
        wide, high = self._inner
        parts = [
            f'<svg class="panel" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
            f'height="{self.height}" role="img" aria-label="{escape(self.title)}">',
            f'<text class="title" x="{self._LEFT}" y="16">{escape(self.title)}</text>',
            *self._y_ticks(wide, high),
            *self._x_ticks(wide, high),
            f'<text x="{self._LEFT + wide / 2:.0f}" y="{self.height - 6}" text-anchor="middle">'
            f"{escape(self.x.label)}</text>",
            # An inner svg clips what lies outside, without the identifiers that a clip path needs.
            f'<svg x="{self._LEFT}" y="{self._TOP}" width="{wide}" height="{high}" fill="none" stroke-width="1.8" '
            'stroke-linejoin="round">',
            *self._marks,
            "</svg>",
            f'<rect class="frame" x="{self._LEFT}" y="{self._TOP}" width="{wide}" height="{high}"/>',
            "</svg>",
        ]
        return "".join(parts)

    def _y_ticks(self, wide: int, high: int) -> Iterable[str]:
        for value, label in self.y.ticks:
            down = self._TOP + (1 - self.y.place(value)) * high
            yield f'<path class="grid" d="M{self._LEFT} {down:.1f}h{wide}"/>'
            yield f'<text x="{self._LEFT - 6}" y="{down + 4:.1f}" text-anchor="end">{escape(cut(label, 8))}</text>'

    def _x_ticks(self, wide: int, high: int) -> Iterable[str]:
        free_from = 0.0
        room = max(6, int(wide / max(1, len(self.x.ticks)) / 6.5))  # letters
        for value, label in self.x.ticks:
            across = self._LEFT + self.x.place(value) * wide
            yield f'<path class="grid" d="M{across:.1f} {self._TOP}v{high}"/>'
            text = cut(label, room)
            half = 3.4 * len(text)
            if across - half >= free_from:
                free_from = across + half + 4
                yield (
                    f'<text x="{across:.1f}" y="{self._TOP + high + 16}" text-anchor="middle">'
                    f"<title>{escape(label)}</title>{escape(text)}</text>"
                )


def _stretches(points: Sequence[Point]) -> list[list[Point]]:
    found: list[list[Point]] = [[]]
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            found[-1].append((x, y))
        elif found[-1]:
            found.append([])
    return [stretch for stretch in found if stretch]


def _thinned(points: Sequence[T], most: int = 200) -> list[T]:
    """Evenly spaced ones of many points, the last one among them."""
    step = math.ceil(len(points) / most) if points else 1
    kept = list(points[::step])
    return kept if step == 1 or kept[-1] == points[-1] else [*kept, points[-1]]
