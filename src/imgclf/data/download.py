"""Fetching a file so that nothing half-downloaded is ever taken for whole."""

from pathlib import Path


def download(url: str, target: Path, md5: str | None = None) -> None:
    """Fetch ``target``, written aside and renamed when it is whole and has this checksum.

    Raises:
        OSError: no answer, or no room.
        RuntimeError: another file than the one with this checksum.
    """
    from torchvision.datasets.utils import download_url  # a second to import

    aside = target.with_name(f".{target.name}.part")
    try:
        download_url(url, str(target.parent), aside.name, md5)  # makes the folder, too
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
