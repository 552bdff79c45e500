"""How many threads compute together, and how they wait for one another: decided before torch is loaded.

On Linux torch's threads (GNU OpenMP) spin for milliseconds before they sleep. Where they have the cores to themselves
that is fastest. Beside other busy processes a thread that spins keeps from its core the one that it waits for. A short
spin mends that, and unlike another number of threads it changes no number; RESULTS.md has what it comes to.
"""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from imgclf.distributed import cores

SHORT_SPIN = "1000"  # rounds of waiting; GNU OpenMP's own number is 300,000
_NUMBER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
_WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def processes_running() -> int:
    """How many processes and threads of the machine run or wait for a core just now, this one among them."""
    return int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0])


def choose_spin(running: Callable[[], int] = processes_running) -> None:
    """Have threads wait shortly where others want the cores now, unless the user has set anything of the kind.

    Not by the load average, which counts for minutes what has just ended, such as the last command. Elsewhere than on
    Linux nothing is chosen.
    """
    if any(name in os.environ for name in (*_NUMBER, *_WAITING)):
        return
    with contextlib.suppress(OSError, ValueError, IndexError):
        seen = [running()]
        while len(seen) < 5:  # 20 ms in all: what is there for a moment only does not count
            time.sleep(0.005)
            seen.append(running())
        if statistics.median(seen) - 1 + cores() > (os.cpu_count() or 1):
            os.environ["GOMP_SPINCOUNT"] = SHORT_SPIN


def keep_number(run: Mapping[str, Any]) -> None:
    """Have a run that goes on, or is done again, as many threads as it had: their number decides last digits.

    Args:
        run: contents of its run.json. More threads than there are cores here are not kept, nor is anything done where
            the user has set a number.
    """
    threads = run.get("threads")
    if type(threads) is int and 1 <= threads <= (os.cpu_count() or 1) and not any(n in os.environ for n in _NUMBER):
        os.environ["OMP_NUM_THREADS"] = str(threads)  # of each of its processes
