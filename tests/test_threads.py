"""How many threads compute together, and how they wait for one another."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Door
from run_files import run_json

from imgclf import ranks, threads

USERS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
HERE = os.cpu_count() or 1

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the machine's load is not looked at")


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*USERS, ranks.SHARED_THREADS):
        monkeypatch.setenv(name, "")  # so that what a test leaves behind is undone
        monkeypatch.delenv(name)


def running(*others: int) -> Callable[[], int]:
    """A load: this process and so many others, one look after the other."""
    looks = iter(others)
    return lambda: 1 + next(looks)


@linux
@pytest.mark.parametrize(
    ("others", "short"),
    [
        ((0, 0, 0, 0, 0), False),
        ((0, 4, 0, 4, 0), False),  # for a moment only
        ((1, 1, 0, 1, 1), True),
        ((2, 2, 2, 2, 2), True),
    ],
)
def test_threads_wait_shortly_where_others_want_the_cores(
    others: tuple[int, ...], short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: len(os.sched_getaffinity(0)))
    threads.choose_spin(running(*others))
    assert os.environ.get("GOMP_SPINCOUNT") == (threads.SHORT_SPIN if short else None)
    assert "OMP_NUM_THREADS" not in os.environ, "which would change the numbers"


@linux
def test_others_may_have_the_cores_that_this_process_does_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: len(os.sched_getaffinity(0)) + 4)
    threads.choose_spin(running(4, 4, 4, 4, 4))
    assert "GOMP_SPINCOUNT" not in os.environ
    threads.choose_spin(running(5, 5, 5, 5, 5))
    assert os.environ["GOMP_SPINCOUNT"] == threads.SHORT_SPIN


@pytest.mark.parametrize("name", USERS)
def test_what_the_user_has_set_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    before = dict(os.environ)
    threads.choose_spin(lambda: 100)
    if name.endswith("NUM_THREADS"):
        threads.keep_number({"threads": 1})
    assert dict(os.environ) == before


def test_where_the_load_cannot_be_read_nothing_is_chosen() -> None:
    def missing() -> int:
        raise FileNotFoundError("/proc/loadavg")

    threads.choose_spin(missing)
    assert "GOMP_SPINCOUNT" not in os.environ


@pytest.mark.parametrize(
    ("run", "number"),
    [
        ({"threads": 2}, "2"),
        ({"threads": 2, "processes": 2}, "4"),  # which the processes share
        ({"threads": 5}, None),  # of another machine
        ({"threads": 0}, None),
        ({"threads": "2"}, None),
        ({}, None),
    ],
)
def test_a_run_keeps_its_number_of_threads(
    run: dict[str, object], number: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    threads.keep_number(run)
    assert os.environ.get("OMP_NUM_THREADS") == number


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Meanwhile another process wants each core."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(HERE)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


@linux
@pytest.mark.skipif(HERE == 1, reason="one thread is all there can be")
def test_done_again_or_continued_a_run_has_as_many_threads_whatever_the_load(
    door: Door, tmp_path: Path, root: Path
) -> None:
    def train(*arguments: str) -> str:
        environment = {k: v for k, v in os.environ.items() if k not in USERS}
        command = [sys.executable, str(root / "scripts" / "train.py"), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    door("train.py", "trainer.max_epochs=1", "logger=none", "hydra.run.dir=first")
    assert run_json(tmp_path / "first")["threads"] == 1, "as the tests have it set"
    with busy():
        told = train("rerun=first", "hydra.run.dir=again")
    assert "the same numbers as" in told
    assert run_json(tmp_path / "again")["threads"] == 1
    assert run_json(tmp_path / "again")["spin"] == threads.SHORT_SPIN

    train("resume=first", "trainer.max_epochs=2")
    assert run_json(tmp_path / "first")["threads"] == 1
