"""Ctrl-C and SIGTERM as one exception, for whatever runs outside of a training loop."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM)

# Within it further signals count as the same one: a terminal and a launcher may both send it.
SECONDS_TO_STOP = 2.0
_last_raised = 0.0


class Interrupted(BaseException):
    """Work stopped on a signal; what was saved before can be continued from.

    No Exception, so that nothing on the way takes it for an error of its own, and no KeyboardInterrupt, which
    Lightning answers by ending the process.

    Args:
        signum: the signal's number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


@contextlib.contextmanager
def interruptible(*also: signal.Signals) -> Iterator[None]:
    """Raise :class:`Interrupted` wherever SIGINT or SIGTERM arrives meanwhile; the handlers before are put back.

    A second signal right after the first, while what was interrupted is still leaving, is left out. Does nothing in a
    thread other than the main one, where Python takes no signals.

    Args:
        also: further signals, those of a batch system.
    """

    def interrupt(signum: int, frame: FrameType | None) -> None:
        global _last_raised
        if time.monotonic() - _last_raised > SECONDS_TO_STOP:
            _last_raised = time.monotonic()
            raise Interrupted(signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {s: signal.signal(s, interrupt) for s in (*STOPPING, *also)}
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
