"""scripts/predict.py images=FOLDER, as a user runs it."""

import csv
from pathlib import Path

import numpy as np
import pytest
from conftest import Door, Doors
from PIL import Image

from imgclf.data.fashion_mnist import FashionMNISTMini

COUNT = 70


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Path:
    """A run folder, of a network that was trained a little."""
    folder = tmp_path_factory.mktemp("run")
    doors(folder)("train.py", "trainer.max_epochs=3", "hydra.run.dir=run", "test=false")
    return folder / "run"


@pytest.fixture(scope="module")
def data() -> FashionMNISTMini:
    return FashionMNISTMini(
        in_channels=1,
        num_classes=10,
        resize=28,
        mean=[0.286],
        std=[0.353],
        batch_size=256,
        eval_batch_size=1000,
        val_fraction=0.1,
        seed=0,
    )


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as table:
        return list(csv.DictReader(table))


def test_pictures_of_the_test_images_are_classified_as_the_test_images_are(
    run: Path, data: FashionMNISTMini, door: Door, tmp_path: Path
) -> None:
    test = data.read_test()
    folder = tmp_path / "my pictures"
    folder.mkdir()
    for number in range(COUNT):
        Image.fromarray(test.images[number, 0].numpy()).save(folder / f"{number:03}.png")
    done = door("predict.py", f"run={run}", f"images='{folder}'", "average_flips=false", "data.eval_batch_size=32")
    assert "70 pictures: all as in training" in done.stdout
    assert "Warning" not in done.stderr
    assert "… and 50 more" in done.stdout
    found = rows(run / "predicted" / "my pictures.csv")
    assert [row["file"] for row in found] == [f"{number:03}.png" for number in range(COUNT)]
    right = [row["class"] == data.class_names[int(test.labels[i])] for i, row in enumerate(found)]
    assert sum(right) >= 50, "as many as such a network gets right, which needs the very way of training"
    for row in found:
        shares = {name: float(row[name]) for name in data.class_names}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
        assert max(shares, key=lambda name: shares[name]) == row["class"]
        assert float(row["probability"]) == max(shares.values())
    sheet = np.asarray(Image.open(run / "predicted" / "my pictures.png").convert("RGB"))
    assert sheet.shape[1] > 6 * 160, "six pictures side by side"
    assert 0.05 < (sheet.max(axis=2) < 128).mean() < 0.9

    # A second folder of another name leaves the first one's answers alone; a large coloured photograph of the same
    # shirt is taken for the same shirt.
    large = tmp_path / "large"
    large.mkdir()
    wide = Image.open(folder / "000.png").resize((280, 280), Image.Resampling.NEAREST).convert("RGB")
    canvas = Image.new("RGB", (400, 280), (0, 0, 90))
    canvas.paste(wide, (60, 0))
    canvas.save(large / "photo.jpg", quality=95)
    (large / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = door("predict.py", f"run={run}", f"images={large}", "average_flips=false", expect=1)
    assert "not classified:" in done.stderr
    assert "Warning" not in done.stderr
    assert "broken.png cannot be read as PNG or JPEG" in done.stderr
    assert "1 not square, of which the middle square is taken" in done.stdout
    assert "1 of another size than 28 x 28, resized as in training" in done.stdout
    assert "1 in colour, made grey" in done.stdout
    (row,) = rows(run / "predicted" / "large.csv")
    assert row["class"] == found[0]["class"]
    assert float(row["probability"]) == pytest.approx(float(found[0]["probability"]), abs=0.1)
    assert len(rows(run / "predicted" / "my pictures.csv")) == COUNT


def test_each_line_of_the_table_fits_80_columns(run: Path, door: Door, tmp_path: Path) -> None:
    Image.new("L", (28, 28)).save(tmp_path / f"{'long' * 20}.png")
    done = door("predict.py", f"run={run}", f"images={tmp_path / ('long' * 20 + '.png')}")
    table = done.stdout.split("\nfile")[1].split("\n\n")[0].splitlines()[1:]
    assert len(table) == 1
    assert max(len(line) for line in table) <= 80


def test_what_cannot_be_classified_is_refused_before_anything_is_written(run: Path, door: Door, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("nothing")
    early = door("predict.py", f"run={run}", "images=nowhere", expect=2)
    assert "images=nowhere: there is no such folder or file" in early.stderr
    for given, message in (
        ([f"images={tmp_path / 'bad.png'}"], "none of the 1 files could be read"),
        (["images=bad.png", "sheet=0"], "sheet=0: "),
        ([], "has no unlabelled images: give some by images=FOLDER"),
    ):
        done = door("predict.py", f"run={run}", *given, expect=2)
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert not (run / "predicted" / "bad.png").exists()
