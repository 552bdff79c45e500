"""Fetching a file so that nothing half-downloaded is ever taken for whole."""

import hashlib
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from imgclf.errors import InputError

TIMEOUT_SECONDS = 30
CHUNK = 2**18


def download(
    urls: Sequence[str],
    target: Path,
    *,
    verify: Callable[[Path], object],
    max_bytes: int,
    remedy: str,
) -> None:
    """Fetch ``target`` from the first address that gives a file which passes ``verify``.

    It is written beside its target under a name of its own and renamed when verified, so that a killed download, or
    two at the same time, do no harm.

    Args:
        urls: addresses, http or https, in the order to try them.
        target: the file.
        verify: raises InputError for a file that is not what was asked for.
        max_bytes: no more than this is accepted.
        remedy: what the user can do instead, for the error's message.

    Raises:
        InputError: no address gave the file; the message has each one's answer.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    answers = []
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise InputError(f"{url}: only http and https addresses are fetched")
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent)
        os.close(handle)
        part = Path(name)
        try:
            _fetch(url, part, target.name, max_bytes)
            verify(part)
            part.chmod(0o644)
            part.replace(target)
            return
        except InputError as error:
            answers.append(f"{url}: {str(error).replace(str(part), 'the file it gave')}")
        except (urllib.error.URLError, HTTPException, OSError) as error:
            answers.append(f"{url}: {error}")
        finally:
            part.unlink(missing_ok=True)
    told = "".join(f"\n  {answer}" for answer in answers)
    raise InputError(f"{target.name} could not be downloaded:{told}\n{remedy}")


def _fetch(url: str, part: Path, title: str, max_bytes: int) -> None:
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
        promised = answer.headers.get("Content-Length")
        expected = int(promised) if promised and promised.isdigit() else None
        received = 0
        # A bar only where somebody watches.
        bar = tqdm(total=expected, desc=title, unit="B", unit_scale=True, disable=not sys.stderr.isatty())
        with bar, part.open("wb") as file:
            while chunk := answer.read(CHUNK):
                received += len(chunk)
                if received > max_bytes:
                    raise InputError(f"it gives more than the {max_bytes:,} bytes that the file can have")
                file.write(chunk)
                bar.update(len(chunk))
    if expected is not None and received != expected:
        raise InputError(f"it stopped after {received:,} of {expected:,} bytes")


def check_sha1(file: Path, sha1: str) -> None:
    """Raise InputError unless the file's SHA-1 is ``sha1`` (hexadecimal)."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha1").hexdigest()
    if found != sha1:
        raise InputError(
            f"{file.name} has the SHA-1 {found}, expected {sha1}: it is damaged or another file; download it again"
        )
