"""What all pictures share: size, colours, and how a file of one is written."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imgclf.run_folder import written_aside

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES = 8.0  # shown 800 pixels wide, text of 10 points is 14 pixels high
DOTS_PER_INCH = 150

# From the palette of Okabe & Ito (2008), told apart by colour-blind readers too.
BLUE, VERMILLION, GREY = "#0072B2", "#D55E00", "#666666"


def sheet(height_inches: float) -> "Figure":
    """An empty picture, 1200 pixels wide, that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, height_inches), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def tidy(axes: "Axes") -> None:
    """Leave only the left and lower edge, and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def pixels(figure: "Figure") -> NDArray[np.uint8]:
    """The picture as uint8 (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]


def save(figure: "Figure", file: Path) -> Path:
    """Write a PNG file aside and rename it, so that a killed process never leaves half a picture.

    Returns:
        The file.
    """
    with written_aside(file) as aside:
        figure.savefig(aside, format="png")
    return file
