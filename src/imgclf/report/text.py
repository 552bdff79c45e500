"""Texts and numbers for a terminal and a page: printable, of known width, of bounded length."""

import json
import math
import unicodedata
from typing import Any


def printable(text: str) -> str:
    """The text with everything escaped that is no plain letter: line ends, terminal sequences, undecodable bytes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def first_line(text: str) -> str:
    """The first line that is not blank, printable."""
    return next((printable(line.strip()) for line in text.splitlines() if line.strip()), "")


def width(text: str) -> int:
    """Columns of a terminal that a printable text takes: East Asian letters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def cut(text: str, columns: int) -> str:
    """The text, or as much of it as fits before an ellipsis."""
    if width(text) <= columns:
        return text
    kept, used = "", 0
    for c in text:
        used += width(c)
        if used > columns - 1:
            break
        kept += c
    return kept + "…" if columns > 0 else ""


def cut_left(text: str, columns: int) -> str:
    """Likewise, but the end is kept: of paths."""
    return cut(text, columns) if width(text) <= columns else "…" + cut(text[::-1], columns).rstrip("…")[::-1]


def pad(text: str, columns: int, *, right: bool) -> str:
    """Filled up with blanks; ``right`` puts the text at the right end."""
    blanks = " " * (columns - width(text))
    return blanks + text if right else text + blanks


def show(value: Any) -> str:
    """A value of a configuration as one would type it; quoted where a text looks like something else."""
    if isinstance(value, str):
        return json.dumps(value) if _looks_like_more(value) else printable(value)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return "[" + ",".join(show(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{printable(str(key))}:{show(item)}" for key, item in value.items()) + "}"
    return printable(str(value))


def _looks_like_more(text: str) -> bool:
    if text in ("", "null", "true", "false") or text[0] in "[{":
        return True
    return number(text) is not None


def number(value: Any) -> float | None:
    """A finite number of int, float or text; None for anything else, booleans too."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def mean_and_spread(mean: float, spread: float | None, digits: int = 4) -> str:
    """``0.8421 ± 0.0031``; without a spread where one seed has none."""
    if not math.isfinite(mean):
        return "diverged"
    return decimal(mean, digits) + (f" ± {decimal(spread, digits)}" if spread is not None else "")


def decimal(value: float, digits: int = 4) -> str:
    """Fixed decimals, or an exponent where that would be a row of figures."""
    return f"{value:.{digits}f}" if abs(value) < 1e4 else f"{value:.2e}"


def duration(seconds: float) -> str:
    """``8.3 s``, ``3:05`` (minutes), ``2:03:05`` (hours)."""
    if not math.isfinite(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """``1 run``, ``2,000 runs``."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def plain_metric(name: str, value: float, digits: int = 4) -> str:
    """One run's final metric, by its name: a time, a rate, a loss or accuracy, or a count."""
    if name == "seconds":
        return duration(value)
    if name == "images_per_second":
        return f"{value:,.0f}"
    return decimal(value, digits) if "/" in name else f"{value:g}"
