"""Fetch one file over HTTP and believe only its checksum."""

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from imgclf.errors import InputError

_BLOCK = 2**16


def download(url: str, target: Path, *, sha1: str, max_bytes: int, timeout_seconds: float = 30.0) -> None:
    """Download `url` to `target`, which appears only when it is complete and its SHA-1 is the expected one.

    Raises InputError for another kind of URL than http(s), if the server cannot be reached or answers with an
    error, for more than `max_bytes` bytes, and for another SHA-1.
    """
    if not url.startswith(("http://", "https://")):
        raise InputError(f"only http:// and https:// addresses can be downloaded, got {url!r}.")
    by_hand = f"Download it by hand to {target} and run again."
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f"{target.name}.part")
    try:
        with urllib.request.urlopen(url, timeout=timeout_seconds) as answer, aside.open("wb") as sink:
            expected = int(answer.headers.get("Content-Length") or 0)
            with tqdm.wrapattr(
                answer, "read", total=expected or None, desc=f"downloading {target.name}", disable=None
            ) as body:
                received = 0
                while block := body.read(_BLOCK):
                    received += len(block)
                    if received > max_bytes:
                        raise InputError(f"{url} sends more than {max_bytes:,} bytes; is it the right file?")
                    sink.write(block)
        if received < expected:  # a plain read does not complain about a connection that ended early
            raise InputError(f"{url} ended after {received:,} of {expected:,} bytes; try again. {by_hand}")
        check_sha1(aside, sha1)
        aside.replace(target)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise InputError(f"{url} cannot be downloaded ({error}). Is there a network? {by_hand}") from error
    finally:
        aside.unlink(missing_ok=True)


def check_sha1(file: Path, sha1: str) -> None:
    """Raise InputError unless the file's SHA-1 is `sha1` (hexadecimal)."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha1").hexdigest()
    if found != sha1:
        raise InputError(
            f"{file.name} has the SHA-1 {found}, expected {sha1}: it is damaged or another file; "
            "download it again."
        )
