"""scripts/predict.py images=..., as a user runs it."""

import csv
import os
from pathlib import Path

import pytest
from conftest import Door, Refused, Undisturbed
from PIL import Image

from imgclf.data.fashion_mnist import CLASS_NAMES, MINI, read_part

COUNT = 70


@pytest.fixture
def run(undisturbed: Undisturbed) -> Path:
    """A run folder, of a network that was trained a little."""
    return undisturbed("trainer.max_epochs=3", "callbacks=bare", "logger=none", "test=false")


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as table:
        return list(csv.DictReader(table))


def test_pictures_of_the_test_images_are_classified_as_the_test_images_are(
    run: Path, door: Door, tmp_path: Path
) -> None:
    images, labels = read_part(MINI, "t10k")
    folder = tmp_path / "my pictures"
    (folder / "more").mkdir(parents=True)
    for number in range(COUNT):
        Image.fromarray(images[number, 0]).save(folder / ("more" if number % 2 else "") / f"{number:03}.png")
    done = door("predict.py", f"run={run}", "images=my pictures", "average_flips=false", "data.eval_batch_size=32")
    for words in ("70 pictures", "28 x 28, grey", "… and 50 more"):
        assert words in done.stdout
    found = rows(run / "predicted" / "my_pictures.csv")
    assert {row["file"] for row in found} == {f"{'more/' * (n % 2)}{n:03}.png" for n in range(COUNT)}
    right = [row["class"] == CLASS_NAMES[labels[int(row["file"][-7:-4])]] for row in found]
    assert sum(right) >= 50, "as many as such a network gets right, which needs the very way of training"
    for row in found:
        shares = {name: float(row[name]) for name in CLASS_NAMES}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
        assert row["class"] == max(shares, key=lambda name: shares[name])
        assert float(row["probability"]) == max(shares.values())
    assert Image.open(run / "predicted" / "my_pictures.png").width > 6 * 160, "six pictures side by side"

    # A large coloured photograph of the same shirt is taken for the same shirt; what is damaged is named.
    large = tmp_path / "large"
    large.mkdir()
    canvas = Image.new("RGB", (400, 280), (0, 0, 90))
    canvas.paste(Image.fromarray(images[0, 0]).resize((280, 280), Image.Resampling.NEAREST).convert("RGB"), (60, 0))
    canvas.save(large / "photo.jpg", quality=95)
    odd = os.fsdecode(os.fsencode(large) + b"/\xff\xfe.png")  # no UTF-8
    Path(odd).write_bytes((folder / "000.png").read_bytes())
    (large / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = door("predict.py", f"run={run}", "images=large", "average_flips=false", expect=1)
    assert "not classified: large/broken.png" in done.stderr
    first = next(row["class"] for row in found if row["file"] == "000.png")
    assert [row["class"] for row in rows(run / "predicted" / "large.csv")] == [first, first]
    assert len(rows(run / "predicted" / "my_pictures.csv")) == COUNT, "another's answers are left alone"


def test_a_pattern_and_a_long_name_in_80_columns(run: Path, door: Door, tmp_path: Path) -> None:
    name = f"{'long' * 20}\nline.webp"
    Image.new("L", (28, 28)).save(tmp_path / name)
    done = door("predict.py", f"run={run}", "images=lo*.webp")
    (line,) = done.stdout.split("\nfile")[1].split("\n\n")[0].splitlines()[1:]
    assert len(line) <= 80


def test_what_cannot_be_classified_is_refused(run: Path, refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("nothing")
    refused(f"predict.py run={run} images=bad.png", "none of the 1 files could be read")
    refused(f"predict.py run={run}", "has no unlabelled images: give some by images=FOLDER")
