"""Damaged files and command lines: read rightly, or refused with one message.

A few inputs each time; ``IMGCLF_FUZZ=20000 uv run pytest tests/fuzz`` tries so many of each kind.
"""

import os
from pathlib import Path

import pytest
from fuzz.targets import TARGETS, emptied, seeds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = int(os.environ.get("IMGCLF_FUZZ", "0"))
# A command line is composed anew each time, which takes a tenth of a second.
USUAL = {"overrides": 8, "seven_zip": 60, "run_folder": 60}
TOKENS = [
    b"null",
    b"nan",
    b"inf",
    b"-1",
    b"1e999",
    b"${",
    b"}",
    b"[",
    b"]",
    b"{",
    b"???",
    b"=",
    b",",
    b"'",
    b"\n",
    b"\0",
]
TOKENS += [b"\xff" * 4, b"\x7f\xff\xff\xff", b"../", b"\xc3\xbc", b"true", b"&a ", b"*a", b"!!python/name:os.system"]


@st.composite
def damaged(draw: st.DrawFn, whole: list[bytes]) -> bytes:
    """Mostly a whole file with a few things cut, changed, put in or repeated; sometimes just bytes."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["cut", "end", "flip", "insert", "token", "repeat"])):
            case "cut":
                del data[place : place + draw(st.integers(1, 16))]
            case "end":
                del data[place:]
            case "flip" if place < len(data):
                data[place] ^= draw(st.integers(1, 255))
            case "insert":
                data[place:place] = draw(st.binary(min_size=1, max_size=8))
            case "token":
                data[place:place] = draw(st.sampled_from(TOKENS))
            case "repeat":
                data[place:place] = data[max(0, place - draw(st.integers(1, 32))) : place]
    return bytes(data)


@pytest.mark.parametrize("name", list(TARGETS))
def test_only_what_the_user_can_mend_is_raised(name: str, tmp_path: Path) -> None:
    @settings(
        max_examples=EXAMPLES or USUAL.get(name, 150),
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(damaged(seeds(name)))
    def throw(data: bytes) -> None:
        TARGETS[name](data, emptied(tmp_path / "input"))

    throw()


@pytest.mark.parametrize("name", list(TARGETS))
def test_the_seeds_are_whole(name: str, tmp_path: Path) -> None:
    for data in seeds(name):
        TARGETS[name](data, emptied(tmp_path / "input"))
