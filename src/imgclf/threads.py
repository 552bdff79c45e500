"""How many threads compute together, and how they wait for one another: decided before torch is loaded.

On Linux torch's threads (GNU OpenMP) spin for milliseconds before they sleep. Beside other busy processes a thread that
spins keeps from its core the one that it waits for. A shorter spin mends that, and unlike another number of threads it
changes no number; RESULTS.md has what it comes to.
"""

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from imgclf.distributed import cores

# Rounds of waiting, where GNU OpenMP's own number is 300,000.
SHORT_SPIN = "1000"  # which costs a small network a tenth of its speed on idle cores
LONG_SPIN = "10000"  # which costs nothing there, and less than their own where others come later
_NUMBER = {"OMP_NUM_THREADS", "MKL_NUM_THREADS"}
_WAITING = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}


def processes_running() -> int:
    """How many processes and threads of the machine run or wait for a core just now, this one among them."""
    return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0])


def choose_spin(running: Callable[[], int] = processes_running) -> None:
    """On Linux have threads wait shortly, most so where others want the cores now; unless the user has set it.

    Not by the load average, which counts for minutes what has just ended, such as the last command.
    """
    if os.environ.keys() & (_NUMBER | _WAITING):
        return
    with contextlib.suppress(OSError, ValueError, IndexError):
        seen = []
        for _ in range(5):  # 20 ms in all: what is there for a moment only does not count
            seen.append(running())
            time.sleep(0.004)
        is_busy = sorted(seen)[2] - 1 + cores() > (os.cpu_count() or 1)
        os.environ["GOMP_SPINCOUNT"] = SHORT_SPIN if is_busy else LONG_SPIN


def keep_number(run: Mapping[str, Any]) -> None:
    """Have a run that goes on, or is done again, as many threads as its run.json says: they decide last digits.

    Not where the user has set a number, nor more threads than there are cores here.
    """
    threads = run.get("threads")
    if type(threads) is int and 1 <= threads <= (os.cpu_count() or 1) and not os.environ.keys() & _NUMBER:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # of each of its processes
