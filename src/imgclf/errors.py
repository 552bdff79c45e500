"""The one error that a user can mend, and how errors are told."""

import errno
import os
import select
import sys
import traceback

USER_ERROR = 2
BROKEN = 1
READER_GONE = 141  # 128 + SIGPIPE, which Windows has not


class InputError(ValueError):
    """Something the user gave (a file, a key, a value) cannot be used.

    The message names it and says what to do; the doors in scripts/ print the message without a traceback.
    """


class Refused(BaseException):
    """Carries an error out of one of Hydra's callbacks, where an Exception would become a warning.

    Args:
        error: what :func:`tell` is to tell.
        where: which part of the command it belongs to, to be added; empty for all of it.
    """

    def __init__(self, error: Exception, where: str = "") -> None:
        super().__init__(str(error))
        self.error = error
        self.where = where


def tell(error: Exception, explanation: str | None = None) -> int:
    """Print one message for what the user can mend, the whole traceback for anything else.

    Args:
        error: what was raised. With ``IMGCLF_TRACEBACK=1`` in the environment its traceback is printed always.
        explanation: what to print instead of the error's own message.

    Returns:
        The exit code: 2 for what the user can mend, 1 for anything else; where whoever read the output has left, as
        ``| head`` does, that of a program ended by it.
    """
    if isinstance(error, BrokenPipeError) and _reader_is_gone():
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would complain when it ends
        return READER_GONE
    if sys.stdout is not None:  # as it is where it was closed
        sys.stdout.flush()
    if explanation is None:
        explanation = str(error) if isinstance(error, InputError) else _of_the_machine(error)
    if explanation is None or os.environ.get("IMGCLF_TRACEBACK") == "1":
        traceback.print_exception(error)
    if explanation is None:
        return BROKEN
    rank = int(os.environ.get("RANK", "0"))
    print(f"{f'process {rank}: ' if rank else ''}error: {explanation}", file=sys.stderr)
    return USER_ERROR


def is_mendable(error: BaseException) -> bool:
    """Whether the user can do something about an error, so that it is told without a traceback."""
    return isinstance(error, InputError) or _of_the_machine(error) is not None


def _reader_is_gone() -> bool:
    """Whether standard output is a pipe that nobody reads from any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


NO_MEMORY = "can't allocate memory"  # how torch says so of the processor's

# What a disk or its owner refuses, and what helps.
_REMEDIES = {
    errno.ENOSPC: "make room, or choose another folder",
    errno.EDQUOT: "make room, or choose another folder",
    errno.EROFS: "choose another folder",
    errno.EACCES: "choose another folder, or have its owner let you in",
}


def _of_the_machine(error: BaseException) -> str | None:
    """What is wrong with a disk, the memory or the network, in words; None for all other errors."""
    if isinstance(error, OSError) and error.errno in _REMEDIES:
        what = f"{error.filename}: " if error.filename else ""
        return f"{what}{error.strerror}; {_REMEDIES[error.errno]}, and run again"
    first = str(error).strip().partition("\n")[0]
    # torch's own, which need not be loaded to know them.
    if type(error).__name__ == "OutOfMemoryError" or (isinstance(error, RuntimeError) and NO_MEMORY in first):
        return f"out of memory ({first}); choose a smaller data.batch_size, data.resize or network"
    if type(error).__name__ == "DistNetworkError":
        place = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        return f"the processes cannot meet at {place} ({first}); choose another MASTER_PORT, and run again"
    return None
