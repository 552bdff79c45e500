"""One's own pictures, from files of any kind to a trained, tested and predicting network."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import Door
from PIL import Image

from imgclf.data.cache import decoded
from imgclf.data.decode import Decode
from imgclf.data.folders import class_folders, list_pictures, pictures
from imgclf.errors import InputError

COLOURS = {"blue": (20, 30, 200), "green": (20, 190, 40), "red": (200, 20, 30)}


def picture(colour: tuple[int, int, int], number: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    noise = np.random.default_rng(number).integers(-20, 20, (size[1], size[0], 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


def photos(folder: Path, each: int = 20) -> Path:
    """Class folders of colours, in several formats and sizes, with the litter of several systems among them."""
    for name, colour in COLOURS.items():
        (folder / name / "more").mkdir(parents=True)
        for number in range(each):
            suffix = ("png", "jpg", "webp", "bmp", "tiff")[number % 5]
            place = folder / name / "more" if number % 2 else folder / name
            picture(colour, number, (40 + number, 64 - number)).save(place / f"{number}.{suffix}")
        for litter in (".DS_Store", "Thumbs.db", "._1.png"):
            (folder / name / litter).write_bytes(b"litter")
    (folder / "__MACOSX").mkdir()
    return folder


def test_three_commands_from_photos_to_a_model_that_predicts(door: Door, tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    (tmp_path / "photos" / "red" / "notes.txt").write_text("not a picture")
    settings = ("model=lenet", "data.resize=32", "optimizer=adamw", "optimizer.lr=0.003", "trainer.max_epochs=8")
    done = door("train.py", "data=image_folder", "data.dir=photos", *settings, "hydra.run.dir=run", "logger=none")
    assert "notes.txt" in done.stderr
    assert "decoding 60 pictures" in done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test/acc"] == 1, "colours are told apart"
    data = yaml.safe_load((tmp_path / "run" / ".hydra" / "config.yaml").read_text())["data"]
    assert data["class_names"] == ["blue", "green", "red"]
    assert data["num_classes"] == 3
    assert all(0 < value < 1 for value in (*data["mean"], *data["std"])), "measured, and kept with the run"

    again = door("evaluate.py", "run=run")
    assert "1.0000" in again.stdout
    assert "decoding" not in again.stderr, "decoded once"

    # Another folder is matched by name: here the classes have another order and one is missing.
    for name in ("red", "green"):
        (tmp_path / "other" / name).mkdir(parents=True)
        for number in range(9):
            picture(COLOURS[name], 100 + number).save(tmp_path / "other" / name / f"{number}.png")
    assert "1.0000" in door("evaluate.py", "run=run", "data.dir=other", "data.test_fraction=1").stdout
    assert (
        "1.0000" in door("evaluate.py", "run=run", "data=image_folder", "data.dir=other", "data.test_fraction=1").stdout
    )
    (tmp_path / "other" / "yellow").mkdir()
    picture((200, 200, 0), 1).save(tmp_path / "other" / "yellow" / "1.png")
    assert "yellow" in door("evaluate.py", "run=run", "data.dir=other", expect=2).stderr

    done = door("predict.py", "run=run", "images=photos")
    assert "60 pictures" in done.stdout
    rows = (tmp_path / "run" / "predicted" / "photos.csv").read_text().splitlines()[1:]
    assert len(rows) == 60
    assert all(row.split(",")[1] in row.split(",")[0] for row in rows), "each file's class is its folder's name"

    done = door("train.py", "resume=run", "trainer.max_epochs=9")
    assert "epoch 9/9" in done.stderr


def test_train_valid_and_test_folders_are_taken_as_they_are(door: Door, tmp_path: Path) -> None:
    for part, count in (("train", 12), ("val", 4), ("test", 5)):
        for name, colour in COLOURS.items():
            (tmp_path / "all" / part / name).mkdir(parents=True)
            for number in range(count):
                picture(colour, number).save(tmp_path / "all" / part / name / f"{number}.png")
    settings = ("data=image_folder", "data.dir=all", "model=mlp", "trainer.max_epochs=1", "logger=none")
    door("train.py", *settings, "hydra.run.dir=run")
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    assert about["train_images"] == 36
    assert about["data"]["train"]["images"] == [48, 3, 64, 64], "those for validation among them"
    assert about["data"]["test"]["images"] == [15, 3, 64, 64]
    door(
        "train.py", *settings, "retrain_on_all=true", "data.in_channels=1", "data.stored_size=24", "hydra.run.dir=grey"
    )
    about = json.loads((tmp_path / "grey" / "run.json").read_text())
    assert (about["train_images"], about["data"]["train"]["images"]) == (48, [48, 1, 24, 24])


def test_what_cannot_be_used_is_named_before_training(door: Door, tmp_path: Path) -> None:
    assert "data.dir" in door("train.py", "data=image_folder", expect=2).stderr
    assert "nowhere" in door("train.py", "data=image_folder", "data.dir=nowhere", expect=2).stderr
    photos(tmp_path / "photos", each=12)
    for number in range(11):
        (tmp_path / "photos" / "red" / f"broken{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    settings = ("data=image_folder", "data.dir=photos", "model=mlp", "trainer.max_epochs=1", "logger=none")
    told = door("train.py", *settings, expect=2).stderr
    assert "11 of 47 pictures cannot be read" in told
    assert "broken0.png" in told
    assert "and 1 more" in told
    assert "data.on_damaged=skip" in told
    assert "left out" in door("train.py", *settings, "data.on_damaged=skip", "data.batch_size=8").stderr


def test_the_test_pictures_stay_the_same_whatever_the_seed(tmp_path: Path) -> None:
    from imgclf.data.image_folder import ImageFolder

    photos(tmp_path)
    tested, validated = [], []
    for seed in (0, 1):
        data = ImageFolder(
            dir=str(tmp_path),
            class_names=list(COLOURS),
            stored_size=8,
            fit="centre",
            test_fraction=0.2,
            test_seed=0,
            on_damaged="stop",
            cache_dir=None,
            decode_workers=1,
            in_channels=3,
            num_classes=3,
            resize=8,
            mean=None,
            std=None,
            batch_size=4,
            eval_batch_size=4,
            val_fraction=0.25,
            seed=seed,
        )
        data.setup("fit")
        data.setup("test")
        parts = [part.chosen.tolist() for part in (data.train_set, data.val_set, data.test_set)]  # type: ignore[union-attr]
        assert sorted(sum(parts, [])) == list(range(60)), "every picture is in one part"
        assert [len(part) for part in parts] == [36, 12, 12]
        tested.append(parts[2])
        validated.append(parts[1])
        pixels = data.train_set.images[data.train_set.chosen].float() / 255  # type: ignore[index]
        np.testing.assert_allclose(data.mean, pixels.mean((0, 2, 3)), atol=1e-4)  # type: ignore[arg-type]
        np.testing.assert_allclose(data.std, pixels.std((0, 2, 3), correction=0), atol=1e-4)  # type: ignore[arg-type]
    assert tested[0] == tested[1]
    assert validated[0] != validated[1]


def test_decoding_any_mode_and_form(tmp_path: Path) -> None:
    centre, letterbox, grey = Decode(3, 8), Decode(3, 8, "letterbox"), Decode(1, 8)
    wide = Image.new("RGB", (24, 8), "black")
    wide.paste((255, 255, 255), (8, 0, 16, 8))
    assert (centre(wide) == 255).all(), "the middle square"
    boxed = letterbox(wide.resize((48, 16)))
    assert boxed.shape == (3, 8, 8)
    assert (boxed[:, :2] == 0).all(), "stripes"
    assert (boxed[:, 3:5, 3:5] >= 240).all(), "the whole picture between them"
    for mode, value, expected in (
        ("1", 1, 255),
        ("L", 77, 77),
        ("P", 0, 0),
        ("LA", (50, 255), 50),
        ("RGBA", (0, 0, 0, 0), 255),  # transparent: white shows
        ("CMYK", (0, 0, 0, 255), 0),
        ("I;16", 65535, 255),
        ("I", 257 * 128, 128),
        ("F", 0.5, 128),
    ):
        image = Image.new(mode, (8, 8), value)
        assert centre(image).shape == (3, 8, 8)
        assert (abs(centre(image).astype(int) - expected) <= 1).all(), mode
        assert grey(image).shape == (1, 8, 8)
    # A photo that the camera took on its side: orientation 6 wants a quarter turn to the right.
    on_side = Image.new("RGB", (8, 8), "black")
    on_side.paste((255, 255, 255), (0, 0, 4, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    on_side.save(tmp_path / "turned.png", exif=exif)
    turned = centre(tmp_path / "turned.png")
    assert (turned[:, :4] == 255).all()
    assert (turned[:, 4:] == 0).all()
    # Pixels of the right size come through as they are.
    exact = picture((90, 120, 30), 1, (8, 8))
    assert (centre(exact).transpose(1, 2, 0) == np.asarray(exact)).all()


@pytest.mark.parametrize("workers", [1, 2])
def test_the_cache_holds_what_decoding_gives_and_notices_changes(tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(1100):
        picture((90, 120, 30), number, (6, 6)).save(folder / f"{number}.png")
    files = sorted(folder.iterdir())
    decode = Decode(3, 6)
    first = decoded(files, folder, decode, workers=workers)
    assert (first.images == np.stack([decode(file) for file in files])).all()
    np.testing.assert_allclose(first.sums[:, 0], first.images.sum((2, 3)) / 255)
    entry = folder / ".decoded"
    stamp = {file: file.stat().st_mtime_ns for file in entry.rglob("*.npy")}
    assert len(stamp) == 3
    decoded(files, folder, decode)
    assert {file: file.stat().st_mtime_ns for file in entry.rglob("*.npy")} == stamp
    picture((0, 0, 0), 7, (6, 6)).save(files[0])
    (entry / ".building-killed").mkdir()
    again = decoded(files, folder, decode)
    assert again.key != first.key
    assert (again.images[0] == decode(files[0])).all()
    assert len(list(entry.glob("*px-*"))) == 1, "the outdated entry is gone"
    assert not (entry / ".building-killed").exists(), "and what a killed process left"
    data = bytearray(files[1].read_bytes())
    data[60] ^= 1  # a wrong bit among the pixels
    files[1].write_bytes(data)
    files[2].write_bytes(files[2].read_bytes()[:70])
    with pytest.raises(InputError, match=r"2 of 1,100 pictures cannot be read"):
        decoded(files, folder, decode)
    skipped = decoded(files, folder, decode, on_damaged="skip")
    assert skipped.kept.tolist() == [0, *range(3, 1100)]
    assert (skipped.images == again.images[[0, *range(3, 1100)]]).all()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_decoded_into_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "photos", each=2).chmod(0o555)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    decoded(pictures(tmp_path / "photos")[0], tmp_path / "photos", Decode(3, 8))
    assert list((tmp_path / "cache" / "imgclf").glob("photos-*"))


def test_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "photos", each=4)
    assert class_folders(tmp_path / "photos") == ["blue", "green", "red"]
    with pytest.raises(InputError, match="at least two"):
        class_folders(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert len(list_pictures("photos")) == 12
    assert len(list_pictures("photos/red/**/*.jpg")) == 1
    assert list_pictures(str(tmp_path / "photos" / "*" / "0.png")) == sorted(tmp_path.glob("photos/*/0.png"))
    for nothing in ("nowhere", "*.gif", "photos/red/.DS_Store"):
        with pytest.raises(InputError, match="images="):
            list_pictures(nothing)
