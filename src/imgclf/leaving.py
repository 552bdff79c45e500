"""The end of a command, without the second and more in which Python takes apart what the libraries have built up.

Freeing each object that torch, Lightning and what they load have made took 1.3 s of every command; the system takes
back the memory of a process that ends in any case.
"""

import atexit
import contextlib
import os
import sys
from typing import NoReturn


def leave(code: object) -> NoReturn:
    """Exit the process: threads end first, and all that is registered for the exit happens.

    Args:
        code: as :func:`sys.exit` takes it.
    """
    if code is None or isinstance(code, int):
        # Registered last, it is called first, but no earlier than now: a profiler or debugger that runs the command
        # has its say when SystemExit reaches it.
        atexit.register(_Ending(code or 0))
    sys.exit(code)  # type: ignore[arg-type]


class _Ending:
    """Calls the other exit functions, then ends the process."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.begun = False

    def __call__(self) -> None:
        if self.begun:
            return
        self.begun = True
        atexit._run_exitfuncs()  # all, this one too; of a process that they end, nothing else would be left to do
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads on, closed, or there is none
                stream.flush()
        os._exit(self.code)
