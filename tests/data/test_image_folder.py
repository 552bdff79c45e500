"""One's own pictures, from files of any kind to a trained, tested and predicting network."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import Door
from PIL import Image
from run_files import metrics, run_json, snapshot

import imgclf
from imgclf.build import built
from imgclf.data.decode import Decode, decoded
from imgclf.data.folders import class_folders, labels_of, list_pictures
from imgclf.errors import InputError

COLOURS = {"blue": (20, 30, 200), "green": (20, 190, 40), "red": (200, 20, 30)}
TRAIN = ("train.py", "data=image_folder", "logger=none")


def picture(colour: tuple[int, int, int], number: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    noise = np.random.default_rng(number).integers(-20, 20, (size[1], size[0], 3))
    return Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))


def photos(folder: Path, each: int = 20, names: tuple[str, ...] = tuple(COLOURS), first: int = 0) -> Path:
    """Class folders of colours, in several formats and sizes, with the litter of several systems among them."""
    for name in names:
        (folder / name / "more").mkdir(parents=True)
        for number in range(first, first + each):
            suffix = ("png", "jpg", "webp", "bmp", "tiff")[number % 5]
            place = folder / name / "more" if number % 2 else folder / name
            picture(COLOURS[name], number, (40 + number, 164 - number)).save(place / f"{number}.{suffix}")
        for litter in (".DS_Store", "Thumbs.db", "._1.png"):
            (folder / name / litter).write_bytes(b"litter")
    (folder / "__MACOSX").mkdir()
    return folder


def test_three_commands_from_photos_to_a_model_that_predicts(door: Door, tmp_path: Path) -> None:
    photos(tmp_path / "photos")
    (tmp_path / "photos" / "red" / "notes.txt").write_text("not a picture")
    settings = ("model=lenet", "data.resize=32", "optimizer=adamw", "optimizer.lr=0.003", "trainer.max_epochs=8")
    told = door(*TRAIN, "data.dir=photos", *settings, "callbacks=bare", "hydra.run.dir=run").stderr
    assert ("notes.txt" in told, "decoding 60 pictures" in told) == (True, True)
    assert metrics(tmp_path / "run")["test/acc"] == 1, "colours are told apart"
    data = yaml.safe_load((tmp_path / "run" / ".hydra" / "config.yaml").read_text())["data"]
    assert (data["class_names"], data["num_classes"]) == (["blue", "green", "red"], 3)
    assert all(0 < value < 1 for value in (*data["mean"], *data["std"])), "measured, and kept with the run"
    again = door("evaluate.py", "run=run")
    assert ("1.0000" in again.stdout, "decoding" in again.stderr) == (True, False), "decoded once"
    # Another folder is matched by name: here the classes have other numbers and one is missing.
    photos(tmp_path / "other", 9, ("red", "green"), first=100)
    assert "1.0000" in door("evaluate.py", "run=run", "data.dir=other", "data.test_fraction=1").stdout
    (tmp_path / "other" / "yellow").mkdir()
    picture((200, 200, 0), 1).save(tmp_path / "other" / "yellow" / "1.png")
    assert "yellow" in door("evaluate.py", "run=run", "data.dir=other", expect=2).stderr
    assert "60 pictures" in door("predict.py", "run=run", "images=photos").stdout
    rows = (tmp_path / "run" / "predicted" / "photos.csv").read_text().splitlines()[1:]
    assert len(rows) == 60
    assert all(row.split(",")[1] in row.split(",")[0] for row in rows), "each file's class is its folder's name"


def test_train_valid_and_test_folders_are_taken_as_they_are(door: Door, tmp_path: Path) -> None:
    for part, count in (("train", 12), ("val", 4), ("test", 5)):
        photos(tmp_path / "all" / part, count)
    settings = (*TRAIN, "data.dir=all", "model=mlp", "debug=fast", "callbacks=bare")
    door(*settings, "hydra.run.dir=run")
    door(*settings, "retrain_on_all=true", "data.in_channels=1", "data.stored_size=24", "hydra.run.dir=grey")
    whole, grey = (run_json(tmp_path / name) for name in ("run", "grey"))
    assert whole["train_images"] == 36
    assert whole["data"]["train"]["images"] == [48, 3, 64, 64], "those for validation among them"
    assert whole["data"]["test"]["images"] == [15, 3, 64, 64]
    assert (grey["train_images"], grey["data"]["train"]["images"]) == (48, [48, 1, 24, 24])
    (tmp_path / "all" / "test").rename(tmp_path / "away")
    (tmp_path / "away" / "red").rename(tmp_path / "all" / "test")  # loose pictures
    assert "predict.py images=all/test" in door(*settings, "data.batch_size=8", "hydra.run.dir=third").stderr
    assert run_json(tmp_path / "third")["train_images"] < 36


def test_what_cannot_be_used_is_named_before_training(door: Door, tmp_path: Path) -> None:
    assert "nowhere" in door(*TRAIN, "data.dir=nowhere", expect=2).stderr
    photos(tmp_path / "photos", each=12)
    (tmp_path / "photos" / "yellow").mkdir()
    told = door(*TRAIN, "data.dir=photos", expect=2).stderr
    assert ("no picture of yellow" in told, "decoding" in told) == (True, False)
    (tmp_path / "photos" / "yellow").rmdir()
    for number in range(11):
        (tmp_path / "photos" / "red" / f"broken{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    settings = (*TRAIN, "data.dir=photos", "model=mlp", "debug=fast", "callbacks=bare")
    told = door(*settings, expect=2).stderr
    for words in ("11 of 47 pictures cannot be read", "broken0.png", "and 1 more", "data.on_damaged=skip"):
        assert words in told
    assert "left out" in door(*settings, "data.on_damaged=skip", "data.batch_size=8").stderr


def test_the_test_pictures_stay_the_same_whatever_the_seed(tmp_path: Path) -> None:
    folder, found = f"data.dir={photos(tmp_path / 'photos')}", []
    for seed in (0, 1):
        form = ("data.stored_size=8", "data.test_fraction=0.2", "data.val_fraction=0.25", f"seed={seed}")
        data = built(imgclf.compose(["data=image_folder", folder, *form]), "data")
        data.setup("fit")
        data.setup("test")
        parts = [part.chosen.tolist() for part in (data.train_set, data.val_set, data.test_set)]
        assert sorted(sum(parts, [])) == list(range(60)), "every picture is in one part"
        assert [len(part) for part in parts] == [36, 12, 12]
        found.append(parts)
        pixels = data.train_set.images[data.train_set.chosen].float() / 255
        np.testing.assert_allclose(data.mean, pixels.mean((0, 2, 3)), atol=1e-4)
        np.testing.assert_allclose(data.std, pixels.std((0, 2, 3), correction=0), atol=1e-4)
    assert found[0][2] == found[1][2]
    assert found[0][1] != found[1][1]


def test_pictures_of_any_mode_are_decoded() -> None:
    for mode, value, expected in (
        *(("1", 1, 255), ("L", 77, 77), ("P", 0, 0), ("LA", (50, 255), 50), ("CMYK", (0, 0, 0, 255), 0)),
        ("RGBA", (0, 0, 0, 0), 255),  # transparent: white shows
        *(("I;16", 65535, 255), ("I", 257 * 128, 128), ("F", 0.5, 128)),
    ):
        for channels in (1, 3):
            pixels = Decode(channels, 8)(Image.new(mode, (8, 8), value))
            assert pixels.shape == (channels, 8, 8)
            assert (abs(pixels.astype(int) - expected) <= 1).all(), mode
    with pytest.raises(ValueError, match="values -1024 to -1024, expected 0 to 65535"):
        Decode(1, 8)(Image.new("I", (8, 8), -1024))


def test_pictures_of_any_form_are_decoded(tmp_path: Path) -> None:
    centre, letterbox = Decode(3, 8), Decode(3, 8, "letterbox")
    wide = Image.new("RGB", (24, 8), "black")
    wide.paste((255, 255, 255), (8, 0, 16, 8))
    assert (centre(wide) == 255).all(), "the middle square"
    boxed = letterbox(wide.resize((48, 16)))
    assert boxed.shape == (3, 8, 8)
    assert ((boxed[:, :2] == 0).all(), (boxed[:, 3:5, 3:5] >= 240).all()) == (True, True), "all of it between stripes"
    assert letterbox(Image.new("RGB", (4000, 20), "white")).max() == 255, "however thin"
    # A photo that the camera took on its side: orientation 6 wants a quarter turn to the right.
    on_side, exif = Image.new("RGB", (8, 8), "black"), Image.Exif()
    on_side.paste((255, 255, 255), (0, 0, 4, 8))
    exif[0x0112], exif[0x010F] = 6, "maker"
    on_side.save(tmp_path / "turned.png", exif=exif)
    on_side.save(tmp_path / "damaged.jpg", exif=exif)
    data = bytearray((tmp_path / "damaged.jpg").read_bytes())
    data[data.index(b"Exif") + 17] = 0  # the maker's name is of a type that does not exist
    (tmp_path / "damaged.jpg").write_bytes(data)
    given = Image.open(tmp_path / "turned.png")
    for source in (tmp_path / "turned.png", tmp_path / "damaged.jpg", given):
        turned = centre(source)
        assert ((turned[:, :4] > 250).all(), (turned[:, 4:] < 5).all(), "exif" in given.info) == (True, True, True)


def test_the_cache_holds_what_decoding_gives_and_notices_changes(tmp_path: Path) -> None:
    folder, decode, count = tmp_path / "pictures", Decode(3, 6), 1100
    folder.mkdir()
    for number in range(count):
        picture((90, 120, 30), number, (6, 6)).save(folder / f"{number}.png")
    files, entry, form = sorted(folder.iterdir()), folder / ".decoded", ([0] * count, folder, decode)
    first, _ = decoded(files, *form)
    assert (first.images.numpy() == np.stack([decode(file) for file in files])).all()
    stamp = snapshot(entry)
    decoded(files, *form)
    assert snapshot(entry) == stamp
    picture((0, 0, 0), 7, (6, 6)).save(files[0])
    (entry / ".building").mkdir()
    again, _ = decoded(files, *form)
    assert again.files != first.files
    assert (again.images[0].numpy() == decode(files[0])).all()
    assert len(list(entry.glob("*px-*"))) == 1, "the outdated entry is gone"
    assert not (entry / ".building").exists(), "and what a killed process left"
    data = bytearray(files[1].read_bytes())
    data[60] ^= 1  # a wrong bit among the pixels
    files[1].write_bytes(data)
    files[2].write_bytes(files[2].read_bytes()[:70])
    with pytest.raises(InputError, match=r"2 of 1,100 pictures cannot be read"):
        decoded(files, *form)
    whole = [0, *range(3, count)]
    skipped, kept = decoded(files, *form, on_damaged="skip")
    assert kept.tolist() == whole
    assert (skipped.images == again.images[whole]).all()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    script = """import resource, sys; from pathlib import Path; from imgclf.data.decode import *
for folder in map(Path, sys.argv[1:]):
    decoded(files := sorted(folder.iterdir()), [0] * len(files), folder, Decode(3, 64))
    print(*(resource.getrusage(who).ru_maxrss for who in (0, -1)))"""  # KiB, of the process and of its own
    folders = [tmp_path / "500", tmp_path / "6000"]  # the second take 74 MB
    for folder in folders:
        folder.mkdir()
        picture((90, 120, 30), 0, (200, 150)).save(folder / "0.jpg")
        for number in range(1, int(folder.name)):
            os.link(folder / "0.jpg", folder / f"{number}.jpg")
    done = subprocess.run([sys.executable, "-c", script, *folders], check=True, capture_output=True, text=True)
    peaks = [[int(peak) for peak in line.split()] for line in done.stdout.splitlines()]
    assert all(large < small + 30_000 for small, large in zip(*peaks, strict=True))


def test_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "photos", each=4)
    assert class_folders(tmp_path / "photos") == ["blue", "green", "red"]
    for name in ("photos/Testing/red", "intel/seg_train", "intel/seg_test"):
        (tmp_path / name).mkdir(parents=True)
    for name, said in (("photos/red", "at least two"), ("photos", "has Testing/, but"), ("intel", "seg_test/, but")):
        with pytest.raises(InputError, match=said):
            class_folders(tmp_path / name)
    with pytest.raises(InputError, match="in no class folder"):
        labels_of([tmp_path / "0.png"], tmp_path, ["blue", "red"])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "red" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "photos" / "blue").symlink_to((tmp_path / "photos" / "blue").rename(tmp_path / "elsewhere"))
    (tmp_path / "photos" / "red" / "above").symlink_to("..")
    assert len(list_pictures("photos")) == 12
    assert labels_of([Path("red/0.png")], Path(), ["blue", "red"]) == [1]
    assert [len(list_pictures(f"photos/red/{pattern}")) for pattern in ("?.png", "**/*.jpg")] == [1, 1]
    assert list_pictures(str(tmp_path / "photos" / "*" / "0.png")) == sorted(tmp_path.glob("photos/*/0.png"))
    for nothing in ("nowhere", "*.gif", "photos/red/.DS_Store"):
        with pytest.raises(InputError, match="images="):
            list_pictures(nothing)
