"""Files that are damaged, of another kind, swapped, missing or out of reach; and names that must work."""

import gzip
import hashlib
import io
import os
import shutil
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import py7zr
import pytest
from PIL import Image
from refused import Case, kaggle, nothing, png, refuse, run_here

from imgclf.images import fashion_mnist
from imgclf.images.idx import write_idx

Given = Callable[[Path], object]
QUICK = "logger=none debug=fast test=false data.batch_size=8"

# Fashion-MNIST, in small: 40 training and 20 test images of made-up pixels.

IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = fashion_mnist.FILES
FASHION = f"train.py data=fashion_mnist data.dir=data data.system_dir=null data.download=false {QUICK}"


@cache
def fashion() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    labels = {IMAGES: 40, TEST_IMAGES: 20}
    made = {name: write_idx(rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)) for name, n in labels.items()}
    made |= {LABELS: write_idx(np.arange(40, dtype=np.uint8) % 10), TEST_LABELS: write_idx(np.zeros(20, np.uint8))}
    return made


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small set takes the place of the published one."""
    for name, content in fashion().items():
        monkeypatch.setitem(fashion_mnist.FULL_SHA256, name, hashlib.sha256(content).hexdigest())


def idx_files(changed: dict[str, bytes | None], suffix: str = "") -> Given:
    """The four files in data/, some with another content, or missing."""

    def given(folder: Path) -> None:
        (folder / "data").mkdir()
        for name, content in (fashion() | changed).items():
            if content is not None:
                held = packed(content) if suffix and name not in changed else content
                (folder / "data" / f"{name}{suffix}").write_bytes(held)

    return given


def packed(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def folder_in_place_of(name: str) -> Given:
    def given(folder: Path) -> None:
        idx_files({name: None})(folder)
        (folder / "data" / name).mkdir()

    return given


def pipe_in_place_of(name: str) -> Given:
    def given(folder: Path) -> None:
        idx_files({name: None})(folder)
        os.mkfifo(folder / "data" / name)

    return given


def data_is_a_file(folder: Path) -> None:
    (folder / "data").write_text("x")


WHOLE = fashion()
IDX = [
    Case("truncated", idx_files({IMAGES: WHOLE[IMAGES][:-1]}), FASHION, f"{IMAGES} is damaged: .*only 31,359.*Delete"),
    Case("cut in header", idx_files({LABELS: WHOLE[LABELS][:6]}), FASHION, f"{LABELS} is damaged: it ends within"),
    Case("empty", idx_files({LABELS: b""}), FASHION, f"{LABELS} is damaged: it ends after 0 bytes.*Delete it"),
    Case("too long", idx_files({LABELS: WHOLE[LABELS] + b"x"}), FASHION, "speaks of 40 bytes, there are more"),
    Case(
        "a png", idx_files({IMAGES: b"\x89PNG\r\n\x1a\n"}), FASHION, "begins with 89 50 4e 47, which is not the start"
    ),
    Case("other type", idx_files({LABELS: b"\0\0\x0d" + WHOLE[LABELS][3:]}), FASHION, "of type 0x0d, expected 0x08"),
    Case("swapped", idx_files({IMAGES: WHOLE[LABELS], LABELS: WHOLE[IMAGES]}), FASHION, f"{IMAGES} .*not that of the"),
    Case("test for train", idx_files({LABELS: WHOLE[TEST_LABELS]}), FASHION, f"{LABELS} .*not that of the published"),
    Case("a label changed", idx_files({LABELS: WHOLE[LABELS][:-1] + b"\x0b"}), FASHION, "not that of the published"),
    Case("gz truncated", idx_files({IMAGES: packed(WHOLE[IMAGES])[:-9]}, ".gz"), FASHION, "compression is broken"),
    Case("gz empty", idx_files({IMAGES: b""}, ".gz"), FASHION, r"idx3-ubyte\.gz is damaged: it ends after 0 bytes"),
    Case("gz of gz", idx_files({IMAGES: packed(packed(b"x"))}, ".gz"), FASHION, "begins with 1f 8b"),
    Case("gz and rubbish", idx_files({LABELS: packed(WHOLE[LABELS]) + b"!"}, ".gz"), FASHION, "compression is broken"),
    Case("one missing", idx_files({LABELS: None}), FASHION, f"data lacks {LABELS} .*data.download=true"),
    Case("all missing", nothing, FASHION, "no Fashion-MNIST files in data.dir=data .*data.download=true"),
    Case("a folder", folder_in_place_of(IMAGES), FASHION, f"{IMAGES} is a folder, expected an IDX file: move it away"),
    Case("a pipe", pipe_in_place_of(IMAGES), FASHION, f"{IMAGES} is no regular file"),
    Case("dir is a file", data_is_a_file, FASHION, "data is a file, expected a folder.*another data.dir"),
]


@pytest.mark.parametrize("case", IDX, ids=lambda case: case.id)
def test_idx(case: Case, here: Path, published: None) -> None:
    refuse(case, here)


# Kaggle's competition: 40 training and 4 test images.

KAGGLE = f"train.py data=kaggle_cifar10 data.dir=data data.augment=none {QUICK}"


def kaggle_files(changed: dict[str, bytes | None], place: str = "data") -> Given:
    def given(folder: Path) -> None:
        for name, content in (kaggle() | changed).items():
            if content is not None:
                (folder / place / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / place / name).write_bytes(content)

    return given


def image(content: bytes) -> Given:
    return kaggle_files({"train/7.png": content})


def labels(text: str | bytes) -> Given:
    return kaggle_files({"trainLabels.csv": text.encode() if isinstance(text, str) else text})


def sixteen_bits() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((32, 32), dtype=np.uint16)).save(stream, "PNG")
    return stream.getvalue()


LIST = kaggle()["trainLabels.csv"].decode()
PNG = [
    Case("png truncated", image(png(7)[:-20]), KAGGLE, r"data/train: .*\n  7\.png: is cut short\nReplace these files"),
    Case("png empty", image(b""), KAGGLE, r"7\.png: is not a PNG file\nReplace"),
    Case("png with a flipped bit", image(png(7)[:80] + b"\xff\xff" + png(7)[82:]), KAGGLE, r"7\.png: is damaged"),
    Case("png of another size", image(png(7, size=28)), KAGGLE, r"32x32 pixels, but\n  7\.png: is 28x28 pixels"),
    Case("grey png", image(png(7, "L")), KAGGLE, r"7\.png: is 8-bit grey\nReplace"),
    Case("palette png", image(png(7, "P")), KAGGLE, r"7\.png: is 8-bit palette\n"),
    Case("png with alpha", image(png(7, "RGBA")), KAGGLE, r"7\.png: is 8-bit RGBA\n"),
    Case("16-bit png", image(sixteen_bits()), KAGGLE, r"7\.png: is 16-bit grey\n"),
    Case("jpg named png", image(png(7, kind="JPEG")), KAGGLE, r"7\.png: is not a PNG file\n"),
    Case("cmyk jpg named png", image(png(7, "CMYK", kind="JPEG")), KAGGLE, r"7\.png: is not a PNG file\n"),
    Case("stray file", kaggle_files({"train/Thumbs.db": b"x"}), KAGGLE, "holds 'Thumbs.db', .*move that elsewhere"),
    Case("leading zero", kaggle_files({"train/07.png": png(7)}), KAGGLE, r"holds '07\.png', which is no image"),
    Case("wrong stored_size", kaggle_files({}), f"{KAGGLE} data.stored_size=64", "64x64 pixels, but.*is 32x32 pixels"),
    Case(
        "image missing", kaggle_files({"train/7.png": None}), KAGGLE, r"lacks 1 image \(7\.png\) .*unpack the archive"
    ),
    Case(
        "image unlisted", kaggle_files({"train/99.png": png(1)}), KAGGLE, r"holds 1 image \(99\.png\).*move them away"
    ),
    Case(
        "no list", kaggle_files({"trainLabels.csv": None}), KAGGLE, "data lacks trainLabels.csv .*kaggle competitions"
    ),
    Case("csv empty", labels(""), KAGGLE, r"trainLabels\.csv must begin with the line id,label; it begins with ''"),
    Case("csv without lines", labels("id,label\n"), KAGGLE, "lists no images; unpack it again"),
    Case("csv without header", labels(LIST[9:]), KAGGLE, "must begin with the line id,label; it begins with '1,auto"),
    Case(
        "unknown class", labels(LIST.replace("7,horse", "7,hors")), KAGGLE, "line 8: unknown class 'hors'; did you mean"
    ),
    Case("a number as class", labels(LIST.replace("7,horse", "7,10")), KAGGLE, "unknown class '10'; known: airplane"),
    Case("id twice", labels(LIST + "7,horse\n"), KAGGLE, "lists id 7 more than once; every id must come once"),
    Case("more labels than images", labels(LIST + "41,cat\n"), KAGGLE, r"lacks 1 image \(41\.png\) listed in"),
    Case("negative id", labels(LIST + "-1,cat\n"), KAGGLE, "line 42: the id must be a whole number from 1, got '-1'"),
    Case("third column", labels(LIST + "41,cat,1\n"), KAGGLE, "line 42: expected id,label, got '41,cat,1'"),
    Case("csv truncated", labels(LIST[:-6]), KAGGLE, "unknown class|expected id,label|lacks|holds 1 image"),
    Case("utf-16", labels(LIST.encode("utf-16")), KAGGLE, "is no text file of lines id,label .*unpack it again"),
    Case("nul bytes", labels(LIST + "\0\0\0"), KAGGLE, "line 42: expected id,label|is no text file"),
    Case(
        "batch too large", kaggle_files({}), f"{KAGGLE} data.batch_size=64", "batch_size=64 is more than the 30 train"
    ),
    Case(
        "3 channels as 1",
        kaggle_files({}),
        f"{KAGGLE} data.in_channels=1",
        "but the images have 3 channel.*give data.in",
    ),
    Case("no data", nothing, KAGGLE, "data lacks train, test, trainLabels.csv .*demo=true downloads a sample"),
]


@pytest.mark.parametrize("case", PNG, ids=lambda case: case.id)
def test_png_and_csv(case: Case, here: Path) -> None:
    refuse(case, here)


def test_a_list_that_is_a_folder(here: Path) -> None:
    kaggle_files({"sampleSubmission.csv": None})(here)
    (here / "data" / "sampleSubmission.csv").mkdir()
    refuse(Case("", nothing, KAGGLE, r"sampleSubmission\.csv cannot be read \(Is a directory\)"), here)


# Archives.

PREPARE = "prepare_kaggle.py archive=a.zip dir=data"


@cache
def seven_zip(part: str) -> bytes:
    stream = io.BytesIO()
    with py7zr.SevenZipFile(stream, "w", filters=[{"id": py7zr.FILTER_LZMA2, "preset": 0}]) as archive:
        for name, content in kaggle().items():
            if name.startswith(f"{part}/"):
                archive.writestr(content, name)
    return stream.getvalue()


def archive(changed: dict[str, bytes | None], keep: slice = slice(None), name: str = "a.zip") -> Given:
    """The competition's zip, with other members, or cut."""

    def given(folder: Path) -> None:
        members = {f"{part}.7z": seven_zip(part) for part in ("train", "test")}
        members |= {n: content for n, content in kaggle().items() if n.endswith(".csv")}
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as packed_zip:
            for member, content in (members | changed).items():
                if content is not None:
                    packed_zip.writestr(member, content)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(stream.getvalue()[keep])

    return given


def instead(content: bytes) -> Given:
    return lambda folder: (folder / "a.zip").write_bytes(content)


def encrypted(folder: Path) -> None:
    archive({})(folder)
    content = bytearray((folder / "a.zip").read_bytes())
    for mark, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        content[content.index(mark) + place] |= 1
    (folder / "a.zip").write_bytes(content)


def damaged_inside(folder: Path) -> None:
    archive({})(folder)
    content = bytearray((folder / "a.zip").read_bytes())
    content[content.index(b"id,label") + 20] ^= 0xFF
    (folder / "a.zip").write_bytes(content)


def into_a_file(folder: Path) -> None:
    archive({})(folder)
    (folder / "data").write_text("mine")


TRAIN = seven_zip("train")
ARCHIVES = [
    Case("zip truncated", archive({}, slice(-200)), PREPARE, r"a\.zip is no zip archive, or is cut short.*download it"),
    Case(
        "zip without its first byte", archive({}, slice(1, None)), PREPARE, r"a\.zip is no zip archive, or is cut short"
    ),
    Case("zip empty", instead(b""), PREPARE, r"a\.zip is no zip archive, or is cut short"),
    Case("7z named zip", instead(TRAIN), PREPARE, r"a\.zip is no zip archive"),
    Case("zip is a folder", lambda folder: (folder / "a.zip").mkdir(), PREPARE, r"a\.zip is a folder; give the path"),
    Case("zip missing", nothing, PREPARE, r"archive a\.zip does not exist.*kaggle competitions download"),
    Case("zip without members", archive({"train.7z": None}), PREPARE, r"a\.zip lacks train\.7z: it is not the compet"),
    Case(
        "another zip", archive({"setup.exe": b"x"}), PREPARE, "'setup.exe' is not expected in it; nothing was unpacked"
    ),
    Case("encrypted", encrypted, PREPARE, "is encrypted; download the archive again"),
    Case("wrong checksum", damaged_inside, PREPARE, r"a\.zip is no zip archive, or is .*damaged \(Bad CRC-32"),
    Case("7z truncated", archive({"train.7z": TRAIN[:-30]}), PREPARE, r"train\.7z is no 7z archive, or is cut short"),
    Case("7z empty", archive({"train.7z": b""}), PREPARE, r"train\.7z is no 7z archive"),
    Case("zip named 7z", archive({"train.7z": b"PK\3\4" + bytes(60)}), PREPARE, r"train\.7z is no 7z archive"),
    Case("7z of the test", archive({"train.7z": seven_zip("test")}), PREPARE, r"'test/1\.png'.* is not expected in it"),
    Case("list damaged", archive({"trainLabels.csv": b"hello"}), PREPARE, "must begin with the line id,label"),
    Case(
        "list too long", archive({"trainLabels.csv": LIST.encode() + b"41,cat\n"}), PREPARE, r"lacks 1 image \(41\.png"
    ),
    Case("dir is a file", into_a_file, PREPARE, "data is a file; give the folder to unpack into"),
    Case(
        "unknown key",
        nothing,
        "prepare_kaggle.py arhive=a.zip",
        "unknown argument 'arhive=a.zip'. Did you mean archive=",
    ),
    Case("no value", nothing, "prepare_kaggle.py dir=", "dir needs a value: dir=VALUE"),
    Case("ratio", nothing, "prepare_kaggle.py valid_ratio=nan", r"valid_ratio must lie in \(0, 1\), got nan"),
    Case(
        "tree without data", nothing, "prepare_kaggle.py tree=true dir=none", "none lacks train, test, trainLabels.csv"
    ),
]


@pytest.mark.parametrize("case", ARCHIVES, ids=lambda case: case.id)
def test_archives(case: Case, here: Path) -> None:
    # The lists are placed before the images are looked at; they are whole, and the next attempt goes on from them.
    refuse(case, here, may_leave=("data", "data/trainLabels.csv", "data/sampleSubmission.csv"))


# Names and kinds that must work.

ODD = "my data, ü & 数据"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files_in_a_folder_with_an_odd_name(here: Path, published: None, suffix: str) -> None:
    idx_files({}, suffix)(here)
    (here / "data").rename(here / ODD)
    command = FASHION.replace("data.dir=data ", f"\"data.dir='{ODD}'\" ")
    answer = run_here(f"{command} \"hydra.run.dir='runs, ü/{ODD}'\"")
    assert answer.code == 0, answer.err
    again = run_here(f"evaluate.py \"run='runs, ü/{ODD}'\"")
    assert again.code == 0, again.err


def test_an_archive_and_a_folder_with_odd_names(here: Path) -> None:
    archive({}, name=f"{ODD}/ü 1.zip")(here)
    answer = run_here(f'prepare_kaggle.py "archive={ODD}/ü 1.zip" "dir={ODD}" tree=true')
    assert answer.code == 0, answer.err
    command = KAGGLE.replace("data.dir=data ", f"\"data.dir='{ODD}'\" ")
    answer = run_here(f"{command} hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert run_here("predict.py run=run").code == 0
    submission = (here / "run" / "submission.csv").read_text()
    assert submission.count("\n") == 5
    (here / "run" / "submission.csv").unlink()
    answer = run_here(f"predict.py run=run data=kaggle_cifar10 \"data.dir='{ODD}'\"")  # the group anew, the run's seed
    assert answer.code == 0, answer.err
    assert (here / "run" / "submission.csv").read_text() == submission


def test_files_that_may_only_be_read(here: Path, published: None) -> None:
    idx_files({})(here)
    for path in (here / "data").iterdir():
        path.chmod(0o444)
    (here / "data").chmod(0o555)
    try:
        assert run_here(FASHION).code == 0
    finally:
        (here / "data").chmod(0o755)
    shutil.rmtree(here / "data")
