"""How many threads compute together, and how they wait for one another."""

import os
import sys

import pytest

from imgclf import threads


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.setenv(name, "")  # so that what a test leaves behind is undone
        monkeypatch.delenv(name)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the machine's load is not looked at")
@pytest.mark.parametrize(
    ("others", "idle_cores", "short"),
    [
        ((0, 4, 0, 4, 0), 0, False),  # for a moment only
        ((1, 1, 0, 1, 1), 0, True),
        ((4, 4, 4, 4, 4), 4, False),  # on cores that this process does not use
    ],
)
def test_threads_wait_shortly_where_others_want_the_cores(
    others: tuple[int, ...], idle_cores: int, short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(others)
    monkeypatch.setattr(os, "cpu_count", lambda: len(os.sched_getaffinity(0)) + idle_cores)
    threads.choose_spin(lambda: 1 + next(looks))
    assert ("GOMP_SPINCOUNT" in os.environ) is short
    assert "OMP_NUM_THREADS" not in os.environ, "which would change the numbers"


@pytest.mark.parametrize(("then", "number"), [(2, "2"), (5, None), (None, None)])
def test_a_run_keeps_its_number_of_threads_where_there_are_as_many(
    then: object, number: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    threads.keep_number({"threads": then})
    assert os.environ.get("OMP_NUM_THREADS") == number
