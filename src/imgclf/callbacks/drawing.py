"""What the pictures of a run are drawn with: numbers and images in, uint8 (height, width, 3) out; no display needed."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imgclf.figures.curves import BLUE, VERMILLION, pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Counts = NDArray[np.int64]  # (k, k), images by true class (row) and predicted class (column)
INK, FAINT = "#222222", "#777777"
MOST_NUMBERED = 20  # classes whose cells have room for their counts
_MOST_LISTED, _LONGEST_NAME = 30, 22
_LINE, _GAP, _NARROWEST = 17, 12, 104  # pixels: a line of text, between images, a caption's least width
_SMALLEST, _LARGEST = 84, 168  # pixels; smaller images grow by whole factors, larger ones are made smaller


def contact_sheet(
    images: NDArray[np.uint8], captions: Sequence[Sequence[tuple[str, str]]], columns: int, title: str
) -> NDArray[np.uint8]:
    """Images uint8 (n, h, w, 3) row by row, n may be 0, each with lines (text, colour) below it."""
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    longer, top = max(images.shape[1:3]), _LINE + 2 * _GAP
    scale = _LARGEST / longer if longer > _LARGEST else math.ceil(_SMALLEST / longer)
    height, width = (round(side * scale) for side in images.shape[1:3])
    across, down = max(_NARROWEST, width) + _GAP, height + max(map(len, captions), default=0) * _LINE + _GAP
    wide = max(480, _GAP + min(columns, len(images)) * across)
    sheet = Image.new("RGB", (wide, top + math.ceil(len(images) / columns) * down), "white")
    # Of matplotlib, as Pillow's own font has Latin letters alone.
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 12)
    pen.text((_GAP, _GAP), _cut(title, wide // 7), INK, font)
    for place, (image, lines) in enumerate(zip(images, captions, strict=True)):
        x, y = _GAP + place % columns * across, top + place // columns * down
        sheet.paste(Image.fromarray(image).resize((width, height), Image.Resampling.BOX), (x, y))
        for number, (text, colour) in enumerate(lines):
            pen.text((x, y + height + 2 + number * _LINE), _cut(text, across // 7), colour, font)
    return np.array(sheet)


def confusion_picture(counts: Counts, names: Sequence[str]) -> NDArray[np.uint8]:
    """The matrix of true classes (rows) and predicted ones (columns): blue is right, orange wrong.

    Colours are the roots of the shares of a class, so that one mistake in a hundred shows. Up to 20 classes every cell
    has its count; of more, the most frequent mistakes are listed by name, and not every class is.
    """
    from matplotlib.colors import to_rgb

    k, is_numbered = len(counts), len(counts) <= MOST_NUMBERED
    side = max(0.37 * k, 1.5) if is_numbered else 7.2
    axes = _axes(side, side, names, right=0.3 if is_numbered else 4.0, below=True)
    depth = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    full = np.where(np.eye(k, dtype=bool)[..., None], to_rgb(BLUE), to_rgb(VERMILLION))
    axes.imshow((255 * (0.96 + (full - 0.96) * depth[..., None])).round().astype(np.uint8), aspect="auto")
    ticks = range(0, k, math.ceil(k / 60))
    labels, size = [_label(names[c]) for c in ticks], 9 if is_numbered else 6.5
    axes.set_xticks(ticks, labels, rotation=90, fontsize=size)
    axes.set_yticks(ticks, labels, fontsize=size)
    axes.set(xlabel="predicted", ylabel="true")
    total = int(counts.sum())
    title = f"{100 * np.trace(counts) / total:.2f} % of {total:,} images right" if total else "no images"
    axes.set_title(title, loc="left", fontsize=10)
    for row, column in np.argwhere(counts) if is_numbered else ():
        colour = "white" if depth[row, column] > 0.6 else INK
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", fontsize=8, color=colour)
    if not is_numbered:
        found = [f"{n:,}  {_label(names[i])} taken for {_label(names[j])}" for n, i, j in mix_ups(counts)]
        text = "\n".join(["most frequent mistakes", *found])
        axes.text(1.02, 1, text, transform=axes.transAxes, va="top", fontsize=8)
    return pixels(axes.figure)  # type: ignore[arg-type]


def mix_ups(counts: Counts) -> list[tuple[int, int, int]]:
    """The most frequent mistakes, at most 30: images, true class, predicted class."""
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_LISTED].tolist()
    return [(int(wrong.flat[i]), *divmod(i, len(counts))) for i in order if wrong.flat[i]]


def accuracy_picture(counts: Counts, names: Sequence[str]) -> NDArray[np.uint8]:
    """A bar for each class that has images, the least recognised first; of more than 30, the worst 30."""
    totals = counts.sum(axis=1)
    shares, seen = 100 * counts.diagonal() / np.maximum(totals, 1), np.flatnonzero(totals)
    worst = seen[np.argsort(shares[seen], kind="stable")][:_MOST_LISTED]
    axes = _axes(4, 0.25 * max(len(worst), 1), [names[c] for c in worst], right=1.2)
    bars = axes.barh(range(len(worst)), shares[worst], color=BLUE)
    axes.bar_label(bars, [f"{shares[c]:.1f} % of {totals[c]:,}" for c in worst], padding=4, fontsize=9)
    axes.set_yticks(range(len(worst)), [_label(names[c]) for c in worst], fontsize=9)
    axes.set(xlim=(0, 100), ylim=(max(len(worst), 1) - 0.4, -0.6), xticks=[])
    axes.spines[:].set_visible(False)
    more = f", the worst {len(worst)} of {len(seen)} classes" if len(worst) < len(seen) else ""
    axes.set_title(f"images of each class that are recognised{more}", loc="left", fontsize=10)
    return pixels(axes.figure)  # type: ignore[arg-type]


def _axes(width: float, height: float, names: Sequence[str], right: float, below: bool = False) -> "Axes":
    """Axes of a size in inches with room for names on the left and, perhaps, below: an automatic layout draws twice."""
    from matplotlib.figure import Figure

    room = 0.5 + 0.085 * max((min(len(name), _LONGEST_NAME) for name in names), default=0)
    bottom, wide = room if below else 0.1, max(room + width + right, 4.5)
    high = bottom + height + 0.4
    return Figure((wide, high), dpi=100).add_axes((room / wide, bottom / high, width / wide, height / high))


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _label(name: str) -> str:
    """Of no more than some letters; what stands between dollar signs is no formula."""
    return _cut(name, _LONGEST_NAME).replace("$", r"\$")
