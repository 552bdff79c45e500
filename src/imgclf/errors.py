"""The errors that a user can mend, and how errors are told."""

import contextlib
import difflib
import errno
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterable

FAILED, USER_ERROR = 1, 2  # exit codes; 128 + its number after a signal


class InputError(ValueError):
    """Something the user gave (a file, a key, a value) cannot be used.

    The message names it and says what to do; it is printed without a traceback.
    """


class Held(InputError):  # noqa: N818 -- what has become of a start
    """Another process is at the run."""


class Diverged(InputError):  # noqa: N818 -- an end of training, no error of the program
    """Training has come to a loss that is infinite or not a number; the message says where, and what helps."""


class Interrupted(BaseException):
    """Work stopped on a signal; what was saved before can be continued from.

    No Exception, so that nothing on the way takes it for an error of its own, and no KeyboardInterrupt, which
    Lightning answers by ending the process.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum

    def __reduce__(self) -> tuple[type, tuple[int]]:  # on its way out of a process of a launcher's
        return type(self), (self.signum,)


class Failed(Exception):  # noqa: N818 -- what became of a run, told without a traceback
    """A run has come to another end than it should; where a process failed, it has printed its own traceback."""


# Of the disk, or of what may be written there; any other error of the system's is a fault of the program.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
NO_MEMORY = "can't allocate memory"  # how torch says so of the processor's


def explanation(error: BaseException) -> str | None:
    """One line or more for what the user can mend; None for what is a fault of the program."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        what = f"{error.filename}: " if error.filename else ""
        return f"{what}{error.strerror}; make room or get leave to write there, or choose another folder, and run again"
    first = str(error).strip().partition("\n")[0]
    own = ("`val_check_interval`", "Early stopping cond")  # Lightning's, with its remedies
    if isinstance(error, ValueError | RuntimeError) and first.startswith(own):
        return first
    if isinstance(error, ValueError) and first.startswith("Expected more than 1 value per channel when training"):
        return f"{first}: give data.drop_last=true, or a data.batch_size that leaves no batch of one image"
    if isinstance(error, RuntimeError) and "does not have a deterministic implementation" in first:
        return f"{first.partition(',')[0]}: give trainer.deterministic=warn, or another network"
    if type(error).__name__ == "MisconfigurationException":  # Lightning's, of settings that do not go together
        return first
    if type(error).__name__ == "OutOfMemoryError" or (isinstance(error, RuntimeError) and NO_MEMORY in first):
        remedy = "choose a smaller data.batch_size, data.eval_batch_size, data.resize or network"
        return f"out of memory ({first}); {remedy}"
    return None


def tell(error: BaseException) -> int:
    """Print one message for what the user can mend, the traceback for anything else; gives the exit code.

    With ``IMGCLF_TRACEBACK=1`` in the environment the traceback is printed always.
    """
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return 128 + int(getattr(error, "signum", signal.SIGINT))
    if isinstance(error, BrokenPipeError):
        return 141  # 128 + SIGPIPE, which Windows has not: whoever read the output has left, as head does
    text = str(error) if isinstance(error, Failed) else explanation(error)
    with contextlib.suppress(BrokenPipeError):  # nobody reads it
        if text is None or os.environ.get("IMGCLF_TRACEBACK") == "1":
            traceback.print_exception(error)
        if text is not None:
            rank = int(os.environ.get("RANK", "0"))
            print(f"{f'process {rank}: ' if rank else ''}error: {text}", file=sys.stderr)
    return FAILED if text is None or isinstance(error, Failed) else USER_ERROR


def first_line(error: BaseException) -> str:
    """The first line of what began it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().partition("\n")[0] or type(error).__name__


def not_resolved(error: BaseException) -> InputError:
    """What a reference of the configuration has failed with."""
    first = first_line(error)
    if (found := re.search(r"Missing mandatory value: (\S+)", first)) is not None:
        return InputError(f"{found[1]}=???: must be given; write {found[1]}=VALUE")
    told = first.removeprefix("InputError raised while resolving interpolation: ")
    where = "" if told != first else f"{getattr(error, 'full_key', None) or 'the configuration'}: "
    return InputError(f"{where}{told}")


def say(text: str = "", *, end: str = "\n", is_kept: bool = False) -> None:
    """Print a result; that nobody reads it any more, as after ``| head -1``, changes nothing about what was done.

    ``is_kept``: it stands in files, too, so that not even a full disk makes what was done a failure.
    """
    try:
        print(text, end=end, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains of it when it ends
        if not is_kept and not isinstance(error, BrokenPipeError):
            raise


def hint(word: str, candidates: Iterable[str], form: str = "{}", otherwise: str | None = None) -> str:
    """The candidate most like ``word``, in place of ``{}``; if none comes near ``otherwise``, or which there are."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    if found := difflib.get_close_matches(word.lower(), list(by_lower), n=1):
        return f"Did you mean {form.replace('{}', by_lower[found[0]])}?"
    return otherwise or f"There are {', '.join(by_lower.values())}"
