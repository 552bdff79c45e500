"""Preparing the competition: whole or not at all, and again at no cost."""

import hashlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from imgclf.errors import InputError
from imgclf.images.kaggle import read_labels, submission_ids
from imgclf.images.png_folder import list_png_folder
from imgclf.images.prepare import check_prepared, prepare_kaggle


def modified(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def repack(archive: Path, *, leave_out: str = "", **replace: bytes) -> None:
    """Write the zip again without a member, or with other bytes for some (`train_7z=...` is train.7z)."""
    with zipfile.ZipFile(archive) as old:
        members = {name: old.read(name) for name in old.namelist() if name != leave_out}
    members |= {key.replace("_", "."): data for key, data in replace.items()}
    with zipfile.ZipFile(archive, "w") as new:
        for name, data in members.items():
            new.writestr(name, data)


def test_the_zip_becomes_two_folders_and_two_lists(tmp_path, competition, png_bytes):
    data = prepare_kaggle(competition(train=20, test=7), tmp_path / "data")
    assert sorted(p.name for p in data.folder.iterdir()) == [
        "sampleSubmission.csv", "test", "train", "trainLabels.csv",
    ]  # fmt: skip
    assert (data.folder / "train" / "20.png").read_bytes() == png_bytes(20)
    assert list_png_folder(data.folder / "test").ids.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert data.test_images == 7
    assert set(data.train_images_of.values()) == {2}
    assert "20 training images (airplane 2, automobile 2" in str(data)


def test_a_second_time_nothing_is_done(tmp_path, competition):
    archive = competition()
    first = prepare_kaggle(archive, tmp_path / "data")
    before = modified(tmp_path / "data")
    archive.unlink()  # no longer needed
    assert prepare_kaggle(None, tmp_path / "data") == first
    assert modified(tmp_path / "data") == before


@pytest.mark.parametrize("packed", ["zip", "7z", "train unpacked"])
def test_a_folder_in_which_the_archives_lie_is_enough(tmp_path, competition, packed):
    archive = competition()
    folder = tmp_path / "data"
    folder.mkdir()
    if packed == "zip":
        archive.rename(folder / archive.name)
    else:
        (tmp_path / "parts").rename(folder.with_name("data2"))
        folder = folder.with_name("data2")
    if packed == "train unpacked":
        prepare_kaggle(None, folder)
        for file in (folder / "test").iterdir():
            file.unlink()
        (folder / "test").rmdir()
        (folder / "train.7z").unlink()
    kept = {p.name for p in folder.iterdir()}
    prepare_kaggle(None, folder)
    assert kept <= {p.name for p in folder.iterdir()}
    assert check_prepared(folder).test_images == 7


def test_a_missing_part_is_completed_and_the_others_are_left(tmp_path, competition):
    archive = competition()
    prepare_kaggle(archive, tmp_path / "data")
    (tmp_path / "data" / "sampleSubmission.csv").unlink()
    for file in (tmp_path / "data" / "test").iterdir():
        file.unlink()
    (tmp_path / "data" / "test").rmdir()
    before = modified(tmp_path / "data" / "train")
    prepare_kaggle(archive, tmp_path / "data")
    assert modified(tmp_path / "data" / "train") == before
    assert (tmp_path / "data" / "sampleSubmission.csv").is_file()


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_run_killed_while_unpacking_leaves_nothing_that_looks_whole_and_goes_on(tmp_path, competition, part):
    archive = competition(**{"train": 10, "test": 10, part: 2000})
    folder = tmp_path / "data"
    code = "import sys; from pathlib import Path; from imgclf.images.prepare import prepare_kaggle as p; "
    command = [sys.executable, "-c", code + "p(Path(sys.argv[1]), Path(sys.argv[2]))", archive, folder]
    process = subprocess.Popen(command)
    while not (folder / ".unpacking" / part / "100.png").exists():
        assert process.poll() is None
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / part).exists()
    assert (folder / "train").exists() == (part == "test")
    assert prepare_kaggle(archive, folder).folder == folder
    assert len(list_png_folder(folder / part).ids) == 2000
    assert not (folder / ".unpacking").exists()


def test_two_at_the_same_time_do_the_work_once(tmp_path, competition):
    archive, folder = competition(train=500), tmp_path / "data"
    code = "import sys; from pathlib import Path; from imgclf.images.prepare import prepare_kaggle as p; "
    command = [sys.executable, "-c", code + "print(p(Path(sys.argv[1]), Path(sys.argv[2])))", archive, folder]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0] == outputs[1] != ""


def test_without_data_the_error_says_where_to_get_it_and_makes_nothing(tmp_path):
    with pytest.raises(InputError) as caught:
        prepare_kaggle(None, tmp_path / "data")
    for part in (
        "https://www.kaggle.com/c/cifar-10",
        "kaggle competitions download -c cifar-10",
        "demo=true",
    ):
        assert part in str(caught.value)
    assert not (tmp_path / "data").exists()
    with pytest.raises(InputError, match=r"nowhere\.zip does not exist"):
        prepare_kaggle(tmp_path / "nowhere.zip", tmp_path / "data")
    with pytest.raises(InputError, match="is a folder"):
        prepare_kaggle(tmp_path, tmp_path / "data")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file; give the folder"):
        prepare_kaggle(None, tmp_path / "file")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"leave_out": "test.7z"}, r"lacks test\.7z"),
        ({"readme_txt": b"hello"}, r"'readme\.txt' is not expected"),
        ({"trainLabels_csv": bytes(65 * 2**20)}, r"'trainLabels\.csv' is larger than"),
        ({"trainLabels_csv": b"id,label\n1,frog\n"}, r"lacks 0|holds 19 images|would unpack"),
        ({"trainLabels_csv": b"id,label\n1,dragon\n"}, "unknown class 'dragon'"),
        ({"sampleSubmission_csv": b"id,label\n8,cat\n"}, r"lacks 1 image \(8\.png\)"),
        ({"train_7z": b"not an archive"}, r"train\.7z is no 7z archive"),
    ],
)
def test_an_archive_that_is_not_the_competitions_is_refused(tmp_path, competition, damage, message):
    archive = competition()
    repack(archive, **damage)
    with pytest.raises(InputError, match=message):
        prepare_kaggle(archive, tmp_path / "data")
    assert not (tmp_path / "data" / ".unpacking").exists()


@pytest.mark.parametrize("kept", [0.2, 0.7, 0.999])
def test_a_zip_cut_short_is_refused_before_anything_is_made(tmp_path, competition, kept):
    archive = competition()
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * kept)])
    with pytest.raises(InputError, match="cut short"):
        prepare_kaggle(archive, tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "train" / "5.png").unlink(), r"train lacks 1 image \(5\.png\)"),
        (lambda folder: (folder / "test" / "8.png").touch(), r"test holds 1 image \(8\.png\)"),
        (lambda folder: (folder / "train" / ".DS_Store").touch(), r"'\.DS_Store'"),
        (lambda folder: (folder / "test" / "sub").mkdir(), "'sub'"),
    ],
)
def test_an_unpacked_folder_is_checked_each_time(tmp_path, competition, change, message):
    prepare_kaggle(competition(), tmp_path / "data")
    change(tmp_path / "data")
    with pytest.raises(InputError, match=message):
        prepare_kaggle(None, tmp_path / "data")


@pytest.fixture
def served(tmp_path):
    """A folder and the address at which this machine serves it."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=str(folder), **kwargs)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def demo(served, png_bytes):
    """The chapter's sample in small: its address and SHA-1."""
    folder, address = served
    archive = folder / "tiny.zip"
    top = "kaggle_cifar10_tiny"
    with zipfile.ZipFile(archive, "w") as packed:
        for number in range(1, 12):
            packed.writestr(f"{top}/train/{number}.png", png_bytes(number))
        for number in (1, 2, 10):
            packed.writestr(f"{top}/test/{number}.png", png_bytes(number))
        labels = "".join(f"{number},frog\n" for number in range(1, 12))
        packed.writestr(f"{top}/trainLabels.csv", "id,label\n" + labels)
        packed.writestr("__MACOSX/junk", b"x")
    return f"{address}/tiny.zip", hashlib.sha1(archive.read_bytes()).hexdigest()


def test_the_demo_is_downloaded_and_its_test_ids_are_those_of_the_images(tmp_path, demo):
    url, sha1 = demo
    data = prepare_kaggle(None, tmp_path / "data", demo=True, demo_url=url, demo_sha1=sha1)
    assert data.train_images_of["frog"] == 11
    assert read_labels(data.folder / "trainLabels.csv")[0].tolist() == list(range(1, 12))
    assert submission_ids(data.folder).tolist() == [1, 2, 10]
    assert prepare_kaggle(None, tmp_path / "data", demo=True, demo_url="http://127.0.0.1:9/", demo_sha1="") == data


def test_a_download_with_another_checksum_is_not_kept(tmp_path, demo):
    with pytest.raises(InputError, match="SHA-1"):
        prepare_kaggle(None, tmp_path / "data", demo=True, demo_url=demo[0], demo_sha1="0" * 40)
    assert not list((tmp_path / "data").iterdir())


def test_a_server_that_fails_is_named_with_the_way_round(tmp_path, demo):
    for url in (demo[0].replace("tiny", "none"), "http://127.0.0.1:9/tiny.zip"):
        with pytest.raises(InputError, match=r"(?s)could not be downloaded.*by hand"):
            prepare_kaggle(None, tmp_path / "data", demo=True, demo_url=url, demo_sha1=demo[1])
    with pytest.raises(InputError, match="only http"):
        prepare_kaggle(None, tmp_path / "data", demo=True, demo_url="file:///etc/passwd", demo_sha1=demo[1])


def test_the_real_archive(tmp_path):
    source = os.environ.get("IMGCLF_TEST_DATA")
    if not source:
        pytest.skip("IMGCLF_TEST_DATA does not name a folder with cifar-10.zip")
    data = prepare_kaggle(Path(source, "cifar-10.zip"), tmp_path / "data")
    assert sum(data.train_images_of.values()) == len(list_png_folder(data.folder / "train").ids) > 0
    assert min(data.train_images_of.values()) > 0
    assert data.test_images == len(list_png_folder(data.folder / "test").ids) > 0
