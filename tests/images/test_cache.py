"""Decoded once, decoded again when the folder changes, and never half."""

import json
import logging
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from imgclf.errors import InputError
from imgclf.images.cache import cached_images
from imgclf.images.locking import only_one

BUILD = (
    "import sys; from pathlib import Path; from imgclf.images.cache import cached_images as c; "
    "print(c(Path(sys.argv[1]), Path(sys.argv[2]), size=32, workers=1).images.sum(dtype='int64'))"
)


def get(folder, cache):
    return cached_images(folder, cache, size=32, workers=1)


def entries(cache):
    return sorted(path.name for path in cache.iterdir())


def test_a_second_call_reads_the_same_file(tmp_path, png_folder):
    folder, cache = png_folder(5), tmp_path / "cache"
    first = get(folder, cache)
    (entry,) = cache.iterdir()
    written = (entry / "images.npy").stat()
    second = get(folder, cache)
    assert (entry / "images.npy").stat() == written
    assert second.fingerprint == first.fingerprint
    assert second.ids.tolist() == [1, 2, 3, 4, 5]
    assert isinstance(second.images, np.memmap)
    assert not second.images.flags.writeable
    np.testing.assert_array_equal(second.images, first.images)
    assert json.loads((entry / "fingerprint.json").read_text())["images"] == 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f, png: (f / "6.png").write_bytes(png(6)), "1 files were added, 0 removed, 0 changed"),
        (lambda f, png: (f / "5.png").unlink(), "0 files were added, 1 removed, 0 changed"),
        (lambda f, png: (f / "2.png").write_bytes(png(99)), "0 files were added, 0 removed, 1 changed"),
        (lambda f, png: os.utime(f / "3.png", (1, 1)), "0 files were added, 0 removed, 1 changed"),
    ],
)
def test_a_changed_folder_is_decoded_again_and_the_log_says_why(
    tmp_path, png_folder, png_bytes, caplog, change, reason
):
    folder, cache = png_folder(5), tmp_path / "cache"
    first = get(folder, cache)
    change(folder, png_bytes)
    with caplog.at_level(logging.INFO, "imgclf"):
        second = get(folder, cache)
    assert reason in caplog.text
    assert second.fingerprint != first.fingerprint
    assert len(second.images) == len(list(folder.iterdir()))
    assert len(entries(cache)) == 1  # the outdated one is gone
    assert first.images[0].any()  # and yet readable for whoever has it open


def test_two_folders_share_a_cache(tmp_path, png_folder):
    train, cache = png_folder(3), tmp_path / "cache"
    test = tmp_path / "test"
    test.mkdir()
    (test / "1.png").write_bytes((train / "2.png").read_bytes())
    get(train, cache)
    np.testing.assert_array_equal(get(test, cache).images[0], get(train, cache).images[1])
    assert len(entries(cache)) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda entry: (entry / "fingerprint.json").unlink(),
        lambda entry: (entry / "fingerprint.json").write_text("{"),
        lambda entry: os.truncate(entry / "images.npy", 5000),
        lambda entry: (entry / "images.npy").unlink(),
    ],
)
def test_a_damaged_entry_is_made_again(tmp_path, png_folder, damage):
    folder, cache = png_folder(5), tmp_path / "cache"
    before = np.array(get(folder, cache).images)
    damage(next(cache.iterdir()))
    np.testing.assert_array_equal(get(folder, cache).images, before)


def test_a_bad_image_leaves_no_entry(tmp_path, png_folder):
    folder, cache = png_folder(5), tmp_path / "cache"
    (folder / "3.png").write_bytes(b"no")
    with pytest.raises(InputError, match=r"3\.png"):
        get(folder, cache)
    assert entries(cache) == []


def test_a_killed_build_is_never_used_and_cleared_by_the_next_but_not_one_at_work(tmp_path, png_folder):
    folder, cache = png_folder(3000), tmp_path / "cache"
    process = subprocess.Popen([sys.executable, "-c", BUILD, folder, cache])
    while not list(cache.glob(".building-*/images.npy")):
        assert process.poll() is None
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (left,) = cache.iterdir()
    assert left.name.startswith(".building-")
    minutes_ago = time.time() - 120
    os.utime(left / "images.npy", (minutes_ago, minutes_ago))
    at_work = cache / ".building-by-another"
    at_work.mkdir()
    os.utime(at_work, (1, 1))
    with only_one(at_work):
        assert get(folder, cache).images.reshape(3000, -1).any(axis=1).all()
    assert [name for name in entries(cache) if name.startswith(".")] == [at_work.name]


def test_two_processes_at_the_same_time_do_no_harm(tmp_path, png_folder):
    folder, cache = png_folder(1500), tmp_path / "cache"
    both = [subprocess.Popen([sys.executable, "-c", BUILD, folder, cache], stdout=subprocess.PIPE) for _ in range(2)]
    sums = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sums[0] == sums[1]
    assert int(sums[0]) == get(folder, cache).images.sum(dtype="int64")
    assert len(entries(cache)) == 1
