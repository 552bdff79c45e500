"""Reading IDX files, whole and damaged in every way."""

import gzip
import hashlib
import math
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from imgclf.errors import InputError
from imgclf.images.idx import read_idx, write_idx

# Two images of 2x3 pixels, by hand.
BY_HAND = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3]) + bytes(range(12))

arrays = npst.arrays(np.uint8, npst.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6))
in_tmp_path = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def pack(content: bytes, level: int = 9) -> bytes:
    """Content as gzip makes it, but for the time of day, which would name each process's tests differently."""
    return gzip.compress(content, level, mtime=0)


def file(folder: Path, content: bytes) -> Path:
    path = folder / "some-ubyte"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_a_file_made_by_hand(tmp_path: Path, packed: bool) -> None:
    array = read_idx(file(tmp_path, pack(BY_HAND) if packed else BY_HAND))
    assert array.shape == (2, 2, 3)
    assert array.dtype == np.uint8
    assert array.flatten().tolist() == list(range(12))
    assert array.flags.writeable


@in_tmp_path
@given(array=arrays, packed=st.booleans())
def test_what_is_written_is_read_again(tmp_path: Path, array: np.ndarray, packed: bool) -> None:
    content = write_idx(array)
    path = file(tmp_path, pack(content) if packed else content)
    np.testing.assert_array_equal(read_idx(path, sha256=hashlib.sha256(content).hexdigest()), array)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "ends after 0 bytes"),
        (BY_HAND[:3], "ends after 3 bytes"),
        (BY_HAND[:10], "ends within its header"),
        (BY_HAND[:-1], "speaks of 12 bytes, there are only 11"),
        (BY_HAND + b"x", "speaks of 12 bytes, there are more"),
        (b"\x89PNG" + BY_HAND, "not the start of an IDX file"),
        (bytes([0, 0, 0x0D]) + BY_HAND[3:], "type 0x0d"),
        (bytes([0, 0, 8, 0]), "not the start of an IDX file"),
        (bytes([0, 0, 8, 5]) + bytes(20), "not the start of an IDX file"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**31, 2**31, 2**31), "speaks of 2147483648x2147483648x2147"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1), "speaks of 0x4294967295x4294967295"),
        (bytes([0, 0, 8, 4]) + struct.pack(">4I", *[2**16] * 4), "speaks of 65536x"),  # 0 in 64 bits
        (b"\0\0\x08\x01" + struct.pack("<I", 6) + bytes(6), "speaks of 100,663,296 bytes, there are only 6"),
        (b"<html>nothing here</html>", "begins with 3c 68 74 6d"),
        (b"\x1f", "ends after 1 bytes"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 2**20, 2**10, 2), "there are only 0"),
        (pack(BY_HAND)[:-9], "compression is broken"),
        (pack(BY_HAND)[:-8] + b"\0" * 8, "compression is broken"),
        (pack(BY_HAND) + b"rubbish", "compression is broken"),
        (pack(pack(BY_HAND)), "not the start of an IDX file"),
        (pack(BY_HAND[:-1]), "there are only 11"),
        (pack(BY_HAND) + pack(b"more"), "there are more"),
        (b"\x1f\x8b", "compression is broken"),
        (pack(BY_HAND)[:7], "compression is broken"),
        (pack(BY_HAND)[:2] + b"\x07" + pack(BY_HAND)[3:], "compression is broken"),  # not deflate
        (pack(BY_HAND)[:-4] + b"\x13\0\0\0", "compression is broken"),  # another length
        (pack(BY_HAND[:9]) + pack(BY_HAND[9:])[:12], "compression is broken"),
    ],
)
def test_a_damaged_file_is_named_with_reason_and_remedy(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=f"some-ubyte is damaged: .*{reason}.* Delete it"):
        read_idx(file(tmp_path, content))


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    header = bytes([0, 0, 8, 1]) + struct.pack(">I", 10)
    path = file(tmp_path, pack(header + bytes(200_000_000), level=1))
    with pytest.raises(InputError, match="speaks of 10 bytes, there are more"):
        read_idx(path)


def test_an_altered_pixel_is_noticed(tmp_path: Path) -> None:
    digest = hashlib.sha256(BY_HAND).hexdigest()
    with pytest.raises(InputError, match="not that of the published file"):
        read_idx(file(tmp_path, BY_HAND[:-1] + b"\0"), sha256=digest)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing cannot be read \(No such file or directory\): give a folder"):
        read_idx(tmp_path / "nothing")


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder, expected an IDX file: move it away"):
        read_idx(tmp_path)
    path = file(tmp_path, BY_HAND)
    with pytest.raises(InputError, match=r"cannot be read \(Not a directory\)"):
        read_idx(path / "deeper")
    with pytest.raises(InputError, match=r"cannot be read \(File name too long\)"):
        read_idx(tmp_path / ("x" * 300))
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_idx(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="is no regular file"):
        read_idx(tmp_path / "pipe")


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    path = file(tmp_path, BY_HAND)
    is_root = os.geteuid() == 0
    path.chmod(0)
    if is_root:  # who may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)"):
            read_idx(path)
    finally:
        if is_root:
            os.seteuid(0)


def test_a_link_is_followed_and_two_gzip_members_are_their_content_in_a_row(tmp_path: Path) -> None:
    real = file(tmp_path, pack(BY_HAND[:9]) + pack(BY_HAND[9:]))
    (tmp_path / "link").symlink_to(real.name)
    assert read_idx(tmp_path / "link").flatten().tolist() == list(range(12))


def peak_of_reading(path: Path) -> int:
    """Bytes allocated at most while a damaged file is read; numpy's are counted."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError):
            read_idx(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@in_tmp_path
@given(shape=st.lists(st.sampled_from([0, 1, 2, 28, 2**16, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1), max_size=6))
@example(shape=[0, 0, 0, 0])
@example(shape=[2**33 - 1, 1])
def test_any_header_over_few_values_is_read_or_refused_in_little_memory(tmp_path: Path, shape: list[int]) -> None:
    shape = [length % 2**32 for length in shape]
    content = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(2)
    path = file(tmp_path, content)
    if math.prod(shape) == 2 and 1 <= len(shape) <= 4:
        assert read_idx(path).shape == tuple(shape)
    else:
        assert peak_of_reading(path) < 2**24 + 2**20  # a piece of the reader's


@settings(in_tmp_path, max_examples=300)
@given(data=st.data(), packed=st.booleans())
def test_any_damage_gives_the_right_array_or_a_clear_error(tmp_path: Path, data: st.DataObject, packed: bool) -> None:
    content = bytearray(pack(BY_HAND) if packed else BY_HAND)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content)))
        match data.draw(st.sampled_from(["cut", "flip", "insert"])):
            case "cut":
                del content[place : place + data.draw(st.integers(1, 10))]
            case "flip":
                if place < len(content):
                    content[place] ^= data.draw(st.integers(1, 255))
            case "insert":
                content[place:place] = data.draw(st.binary(min_size=1, max_size=10))
    try:
        array = read_idx(file(tmp_path, bytes(content)), sha256=hashlib.sha256(BY_HAND).hexdigest())
    except InputError as error:
        assert "some-ubyte" in str(error)  # noqa: PT017  (either outcome is fine)
    else:
        assert array.tolist() == np.arange(12).reshape(2, 2, 3).tolist()
