"""scripts/prepare_kaggle.py, as a user runs it."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import py7zr
import pytest
from PIL import Image

from imgclf.errors import InputError
from imgclf.images.prepare_cli import Options, parse

SCRIPT = Path(__file__).parents[2] / "scripts" / "prepare_kaggle.py"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture
def downloaded(tmp_path: Path) -> Path:
    """A folder with the competition's four files, 20 training and 3 test images."""
    folder = tmp_path / "data"
    folder.mkdir()
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(stream, "PNG")
    for part, count in (("train", 20), ("test", 3)):
        with py7zr.SevenZipFile(folder / f"{part}.7z", "w") as archive:
            for number in range(1, count + 1):
                archive.writestr(stream.getvalue(), f"{part}/{number}.png")
    labels = "".join(f"{number},{('cat', 'dog')[number % 2]}\n" for number in range(1, 21))
    (folder / "trainLabels.csv").write_text("id,label\n" + labels)
    (folder / "sampleSubmission.csv").write_text("id,label\n1,cat\n2,cat\n3,cat\n")
    return folder


def test_it_unpacks_says_what_it_found_and_makes_the_tree(downloaded):
    result = run(f"dir={downloaded}", "tree=true", "valid_ratio=0.2", "seed=3")
    assert (result.returncode, result.stderr) == (0, "")  # no progress bar where there is no terminal
    assert "20 training images" in result.stdout
    assert "cat 10" in result.stdout
    assert "3 test images" in result.stdout
    assert len(list((downloaded / "train_valid_test" / "valid").glob("*/*.png"))) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["arhive=x.zip"], "Did you mean archive=?"),
        (["--dir=x"], "Did you mean dir=?"),
        (["valid_ratio=ten"], "valid_ratio must be a number, got 'ten'"),
        (["archive=/nowhere/cifar-10.zip"], "/nowhere/cifar-10.zip does not exist"),
    ],
)
def test_a_mistake_is_one_message_without_traceback(tmp_path, arguments, message):
    result = run(*arguments, *([] if "dir" in arguments[0] else [f"dir={tmp_path / 'data'}"]))
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "data").exists()


def test_help_explains_every_argument():
    result = run("--help")
    assert result.returncode == 0
    for key in Options.__dataclass_fields__:
        assert re.search(rf"^  {key}=\S+ +\w", result.stdout, re.MULTILINE), "each at the beginning of a line"


def test_values_have_their_types():
    options = parse(["archive=~/a.zip", "dir=d", "demo=True", "tree=false", "valid_ratio=0.2", "seed=7"])
    assert options == Options(Path.home() / "a.zip", Path("d"), True, False, 0.2, 7)
    assert parse([]) == Options()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("seed=1.5", "seed must be a whole number, got '1.5'"),
        ("seed=-1", "seed must be at least 0"),
        ("demo=yes", "demo must be true or false, got 'yes'"),
        ("valid_ratio=2", r"valid_ratio must lie in \(0, 1\), got 2"),
        ("tree", "tree needs a value"),
        ("dir=", "dir needs a value"),
    ],
)
def test_a_value_of_another_type_is_refused(argument, message):
    with pytest.raises(InputError, match=message):
        parse([argument])


def test_a_key_given_twice_is_refused():
    with pytest.raises(InputError, match="seed is given twice"):
        parse(["seed=1", "seed=2"])


def test_the_real_archive(tmp_path):
    source = os.environ.get("IMGCLF_TEST_DATA")
    if not source:
        pytest.skip("IMGCLF_TEST_DATA does not name a folder with cifar-10.zip")
    result = run(f"archive={source}/cifar-10.zip", f"dir={tmp_path / 'data'}", "tree=true")
    assert result.returncode == 0, result.stderr
    assert "5,000 training images" in result.stdout
    assert "1,000 test images" in result.stdout
