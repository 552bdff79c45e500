"""Finding, downloading and reading the files of Fashion-MNIST."""

import gzip
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from imgclf.errors import InputError
from imgclf.images import fashion_mnist as files
from imgclf.images.download import download
from imgclf.images.fashion_mnist_mini import first_of_each_class, make_mini

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
needs_debian = pytest.mark.skipif(not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")


def test_the_part_that_ships_is_balanced_and_small() -> None:
    folder = files.fashion_mnist_mini_folder()
    for part, count in (("train", 1000), ("t10k", 200)):
        images, labels = files.read_fashion_mnist(folder, part, files.MINI_SHA256)
        assert images.shape == (10 * count, 1, 28, 28)
        assert np.bincount(labels).tolist() == [count] * 10
        assert labels.dtype == np.int64
    assert sum(f.stat().st_size for f in folder.iterdir()) <= 6 * 2**20
    assert len(files.CLASS_NAMES) == 10


def test_the_first_of_each_class_in_their_order() -> None:
    assert first_of_each_class(np.array([1, 0, 1, 1, 0, 0]), 2).tolist() == [0, 1, 2, 4]


@needs_debian
def test_the_part_that_ships_is_made_again_to_the_byte(tmp_path: Path) -> None:
    for file in make_mini(DEBIAN, tmp_path):
        assert file.read_bytes() == (files.fashion_mnist_mini_folder() / file.name).read_bytes(), file.name


@needs_debian
def test_the_whole_set() -> None:
    folder = files.find_fashion_mnist(Path("nowhere"), DEBIAN)
    assert folder == DEBIAN
    for part, count in (("train", 6000), ("t10k", 1000)):
        images, labels = files.read_fashion_mnist(folder, part, files.FULL_SHA256)
        assert images.shape == (10 * count, 1, 28, 28)
        assert np.bincount(labels).tolist() == [count] * 10


def fill(folder: Path, *, gzipped: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files.fashion_mnist_mini_folder().glob("*.gz"):
        if gzipped:
            shutil.copy(file, folder)
        else:
            (folder / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    return folder


@pytest.mark.parametrize("gzipped", [True, False])
def test_files_may_be_plain_or_gzipped(tmp_path: Path, gzipped: bool) -> None:
    folder = fill(tmp_path / "some folder", gzipped=gzipped)
    assert files.find_fashion_mnist(folder, None) == folder
    assert len(files.read_fashion_mnist(folder, "train", files.MINI_SHA256)[1]) == 10_000


def test_the_users_folder_comes_first_then_the_systems(tmp_path: Path) -> None:
    mine, system = tmp_path / "mine", fill(tmp_path / "system")
    assert files.find_fashion_mnist(mine, system) == system
    fill(mine)
    assert files.find_fashion_mnist(mine, system) == mine
    assert files.find_fashion_mnist(tmp_path / "a", tmp_path / "b") is None


def test_a_folder_with_some_of_the_files_is_not_passed_over(tmp_path: Path) -> None:
    mine, system = fill(tmp_path / "mine"), fill(tmp_path / "system")
    (mine / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match=r"mine lacks t10k-labels-idx1-ubyte \(plain or with .gz\): add"):
        files.find_fashion_mnist(mine, system)


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(InputError, match="mine is a file, expected a folder"):
        files.find_fashion_mnist(tmp_path / "mine", None)


def test_swapped_files_are_noticed(tmp_path: Path) -> None:
    folder = fill(tmp_path)
    shutil.copy(folder / "t10k-images-idx3-ubyte.gz", folder / "train-images-idx3-ubyte.gz")
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.gz is damaged: its content is not that"):
        files.read_fashion_mnist(folder, "train", files.MINI_SHA256)


Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, Answer], list[str]]]:
    """A real web server on this machine: its address, what it answers by path, and what was asked."""
    answers: dict[str, Answer] = {}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            answers.get(self.path, lambda h: h.send_error(404))(self)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}", answers, asked
    httpd.shutdown()
    httpd.server_close()


def giving(content: bytes, promised: int | None = None) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) if promised is None else promised))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def check(path: Path) -> None:
    if path.read_bytes() != b"right":
        raise InputError(f"{path} is not right")


def fetch(urls: list[str], target: Path) -> None:
    download(urls, target, verify=check, max_bytes=1000, remedy="Do something else")


def test_a_download_arrives_whole(server: tuple[str, dict[str, Answer], list[str]], tmp_path: Path) -> None:
    url, answers, _ = server
    answers["/file"] = giving(b"right")
    fetch([f"{url}/file"], tmp_path / "new" / "file")
    assert (tmp_path / "new" / "file").read_bytes() == b"right"
    assert [f.name for f in (tmp_path / "new").iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (giving(b"wrong"), "is not right"),
        (giving(b"rig", promised=5), "stopped after 3 of 5 bytes"),
        (giving(b"x" * 2000), "more than the 1,000 bytes"),
        (lambda h: h.send_error(404), "404"),
        (lambda h: h.send_error(500), "500"),
        (lambda h: h.connection.close(), "http"),
        (giving(b""), "is not right"),
    ],
)
def test_a_bad_answer_leaves_nothing_behind_and_the_next_mirror_is_asked(
    server: tuple[str, dict[str, Answer], list[str]], tmp_path: Path, answer: Answer, told: str
) -> None:
    url, answers, asked = server
    answers |= {"/bad/file": answer, "/good/file": giving(b"right")}
    with pytest.raises(InputError, match=f"(?s)file could not be downloaded:.*{told}.*Do something else"):
        fetch([f"{url}/bad/file"], tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
    fetch([f"{url}/bad/file", f"{url}/good/file"], tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"right"
    assert asked[-1] == "/good/file"


def test_no_connection_at_all_names_the_remedies(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"(?s)could not be downloaded.*refused.*data.dir=.*fashion_mnist_mini"):
        files.download_fashion_mnist(tmp_path, mirrors=["http://127.0.0.1:9/"])


def test_only_web_addresses_are_fetched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="only http and https"):
        fetch(["file:///etc/passwd"], tmp_path / "file")


def test_only_missing_files_are_fetched_and_each_is_verified(
    server: tuple[str, dict[str, Answer], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, answers, asked = server
    folder = files.fashion_mnist_mini_folder()
    monkeypatch.setattr(files, "FULL_SHA256", files.MINI_SHA256)
    for name in files.FILES:
        answers[f"/{name}.gz"] = giving((folder / f"{name}.gz").read_bytes())
    broken = files.FILES[1]
    answers[f"/{broken}.gz"] = giving((folder / f"{broken}.gz").read_bytes()[:-20])
    with pytest.raises(InputError, match=f"{broken}.gz could not be downloaded"):
        files.download_fashion_mnist(tmp_path, mirrors=[url])
    assert [f.name for f in tmp_path.iterdir()] == [f"{files.FILES[0]}.gz"]

    answers[f"/{broken}.gz"] = giving((folder / f"{broken}.gz").read_bytes())
    asked.clear()
    files.download_fashion_mnist(tmp_path, mirrors=[f"{url}/"])
    assert f"/{files.FILES[0]}.gz" not in asked
    assert files.find_fashion_mnist(tmp_path, None) == tmp_path
    assert len(files.read_fashion_mnist(tmp_path, "train", files.MINI_SHA256)[1]) == 10_000


def test_the_files_have_the_names_that_torchvisions_mirrors_use() -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    assert [name for name, _ in datasets.FashionMNIST.resources] == [f"{name}.gz" for name in files.FILES]
    assert all(mirror.startswith("http") for mirror in datasets.FashionMNIST.mirrors)


@needs_debian
def test_the_whole_set_has_the_mean_and_deviation_that_are_quoted_for_it() -> None:
    pixels = files.read_fashion_mnist(DEBIAN, "train", files.FULL_SHA256)[0] / 255
    assert pixels.mean() == pytest.approx(0.2860, abs=5e-5)
    assert pixels.std() == pytest.approx(0.3530, abs=5e-5)
