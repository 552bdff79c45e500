"""Telling one's own files from those that somebody else has made.

The configuration in a run folder names the classes that are built from it, so whoever writes it decides what runs.
Files that this user's commands write carry a seal: an HMAC-SHA256 (RFC 2104) of their content under a key of 32 random
bytes that only the user's home directory holds, ``imgclf/key`` in ``$XDG_CONFIG_HOME`` or ``~/.config``. Nobody without
the key can make one, and a file that was changed afterwards has none that fits. Where there is no place for a key,
files get no seal and count as foreign.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path

_LINE = "# seal: "
_KEY_BYTES = 32


def seal(content: str) -> str | None:
    """The seal of a text, hexadecimal; None where no key can be kept."""
    key = _key(make=True)
    return None if key is None else _mac(key, content)


def is_own(content: str, seal: object) -> bool:
    """Whether a seal is this user's, and of this text."""
    key = _key(make=False)
    return key is not None and isinstance(seal, str) and hmac.compare_digest(_mac(key, content), seal)


def sealed_yaml(text: str) -> str:
    """YAML text with its seal in a comment as the last line."""
    own = seal(text)
    return text if own is None else f"{text}{_LINE}{own}\n"


def is_own_yaml(text: str) -> bool:
    """Whether such a text has this user's seal."""
    content, found, own = text.rpartition(_LINE)
    return bool(found) and is_own(content, own.removesuffix("\n"))


def unsealed(text: str) -> str:
    """Such a text without its seal."""
    content, found, _ = text.rpartition(_LINE)
    return content if found else text


def _mac(key: bytes, content: str) -> str:
    return hmac.new(key, content.encode(), hashlib.sha256).hexdigest()


def _key(*, make: bool) -> bytes | None:
    try:
        home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        file = Path(home, "imgclf", "key")
        if make and not file.exists():
            _make(file)
        key = file.read_bytes()
    except (OSError, RuntimeError):  # no home, or one that is not to be written to
        return None
    return key if len(key) == _KEY_BYTES else None


def _make(file: Path) -> None:
    """Write a key that only the user can read, whole from the first moment; of two processes one makes it."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = file.with_name(f".key.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
            handle.write(secrets.token_bytes(_KEY_BYTES))
        with contextlib.suppress(FileExistsError):
            os.link(aside, file)
    finally:
        aside.unlink(missing_ok=True)
