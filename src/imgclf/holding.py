"""A folder that one process has to itself, for as long as it lives."""

import contextlib
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from imgclf.errors import InputError

_PATIENCE_SECONDS = 2.0  # for one that is about to end, or only looks


@contextlib.contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """Have a folder (which must exist) to this process; the system lets go of it however the process ends.

    The lock is the kind that network file systems know and that forked processes do not keep alive. Where a file
    system has no locks, and on Windows, nothing is held.

    Args:
        folder: gets a file ``.lock``, which stays.
        what: is going on there, for the message.

    Raises:
        InputError: another process has it, or nothing can be written there.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    try:
        lock = (folder / ".lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}): choose another folder") from error
    with lock as file:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except (BlockingIOError, PermissionError):
                if time.monotonic() > deadline:
                    file.seek(0)
                    raise InputError(
                        f"{what} is going on in {folder}, by {file.read().strip() or 'another process'}: "
                        "wait for its end, or stop it"
                    ) from None
                time.sleep(0.05)
            except OSError:
                break  # no locks here
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        yield


def is_held(folder: Path) -> bool:
    """Whether another process has the folder; this one's own does not count."""
    if sys.platform == "win32" or not (folder / ".lock").exists():
        return False
    import fcntl

    with (folder / ".lock").open() as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return True
        except OSError:
            return False
    return False
