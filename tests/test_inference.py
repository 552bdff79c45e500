"""A trained network in a Python prompt, on pictures of any kind, and as a file for other programs."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Door, Refused, Undisturbed
from PIL import Image

import imgclf
from imgclf.data.fashion_mnist import CLASS_NAMES, MINI, read_part
from imgclf.errors import InputError
from imgclf.models.classifier import Classifier


@pytest.fixture
def run(undisturbed: Undisturbed) -> Path:
    """A run folder, of a network that was trained a little."""
    return undisturbed("trainer.max_epochs=3", "callbacks=bare", "logger=none")


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as table:
        return list(csv.DictReader(table))


def test_arrays_pictures_and_paths_are_predicted_as_the_run_tests_them(run: Path, tmp_path: Path, door: Door) -> None:
    images, labels = read_part(MINI, "t10k")
    state = torch.random.get_rng_state()
    predictor = imgclf.load(run)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert predictor.class_names == CLASS_NAMES

    shares = predictor.predict(images.transpose(0, 2, 3, 1))
    assert (shares.shape, shares.dtype) == ((len(images), 10), np.float32)
    final = json.loads((run / "metrics.json").read_text())
    assert (shares.argmax(1) == labels).mean() == pytest.approx(final["test/acc"], abs=0.01)
    np.testing.assert_allclose(predictor.predict(images[:7, 0]), shares[:7], atol=1e-6)  # without channels

    pictures = [Image.fromarray(image) for image in images[:3, 0]]
    for number, picture in enumerate(pictures):
        picture.convert("RGB").save(tmp_path / f"{number}.png")
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for given in (pictures, paths, list(map(str, paths))):
        np.testing.assert_allclose(predictor.predict(given), shares[:3], atol=1e-6)
    for one in (paths[1], pictures[1], images[1].transpose(1, 2, 0)):
        np.testing.assert_allclose(predictor.predict(one), shares[1:2], atol=1e-6)
    assert predictor.predict([]).shape == (0, 10)
    assert (len(predictor.embed([])), len(predictor.predict(np.zeros((40, 50, 4), np.uint8)))) == (0, 1)  # RGBA
    door("predict.py", f"run={run}", f"images={tmp_path}")
    table = rows(run / "predicted" / f"{str(tmp_path).strip('/').replace('/', '_')[-80:]}.csv")
    told = [[float(row[name]) for name in CLASS_NAMES] for row in table]
    # The command computes in bfloat16 where the machine can.
    np.testing.assert_allclose(predictor.predict(paths, average_flips=True), told, atol=5e-3)


def test_embeddings_lead_to_the_predictions(run: Path) -> None:
    predictor, (images, _) = imgclf.load(run, checkpoint="last"), read_part(MINI, "t10k")
    features = predictor.embed(images[:5, 0])
    head = [module for module in predictor.model.modules() if isinstance(module, torch.nn.Linear)][-1]
    assert features.shape == (5, head.in_features)
    with torch.no_grad():
        shares = head(torch.from_numpy(features)).softmax(1)
    np.testing.assert_allclose(shares, predictor.predict(images[:5, 0]), atol=1e-6)
    layers = (torch.nn.Linear(28, 10), torch.nn.AdaptiveAvgPool2d((1, 10)), torch.nn.Flatten())  # rows are tokens
    net = torch.nn.Sequential(torch.nn.Flatten(1, 2), *layers)
    own = type(predictor)(Classifier(net, in_channels=1, image_size=28, num_classes=10), predictor.data)
    inputs = predictor.data.to_input(torch.from_numpy(images[:5].copy()))
    np.testing.assert_allclose(own.embed(images[:5, 0]), inputs.mean((1, 2)), atol=1e-6)


def test_what_is_no_picture_and_no_format_is_refused(run: Path, refused: Refused, tmp_path: Path) -> None:
    refused(f"export.py run={run} format=onx", "format=onx", "onnx")
    with pytest.raises(InputError, match=r"bets\.ckpt.*best or last"):
        imgclf.load(run, checkpoint="bets")
    predictor = imgclf.load(run)
    for images in (np.zeros((2, 28, 28, 1)), np.zeros((28, 28), np.uint8), np.zeros((2, 3, 28, 28), np.uint8)):
        with pytest.raises(InputError, match=r"uint8 \(n, h, w, c\)"):
            predictor.predict(images)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InputError, match=r"text\.png cannot be read as a picture"):
        predictor.predict([tmp_path / "text.png"])
    refused(f"predict.py run={run} images=text.png", "none of the 1 files could be read")
    refused(f"predict.py run={run}", "has no unlabelled images: give some by images=FOLDER")


@pytest.mark.parametrize("kind", ["safetensors", *(pytest.param(x, marks=pytest.mark.slow) for x in ("onnx", "torch"))])
def test_an_exported_network_gives_the_runs_probabilities(kind: str, run: Path, door: Door) -> None:
    needed = {"onnx": "onnxscript", "safetensors": "safetensors"}
    if kind in needed:
        pytest.importorskip(needed[kind], reason="uv sync --extra export")
    file = Path(door("export.py", f"run={run}", f"format={kind}").stdout.partition(":")[0])
    assert file.parent == run / "exported"
    images, _ = read_part(MINI, "t10k")
    wanted = imgclf.load(run).predict(images[:9, 0])
    if kind == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        found = np.concatenate([session.run(None, {"images": part})[0] for part in (images[:1], images[1:9])])
        assert json.loads(session.get_modelmeta().custom_metadata_map["class_names"]) == list(CLASS_NAMES)
    elif kind == "torch":
        network = torch.export.load(file).module()
        parts = (torch.from_numpy(part.copy()) for part in (images[:1], images[1:9]))
        found = torch.cat([network(part) for part in parts]).detach().numpy()
    else:
        from safetensors.torch import load_file

        predictor = imgclf.load(run, checkpoint="last")
        predictor.model.net.load_state_dict(load_file(file))
        found = predictor.predict(images[:9, 0])
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_pictures_are_classified_as_the_test_images_are(run: Path, door: Door, tmp_path: Path) -> None:
    images, labels = read_part(MINI, "t10k")
    folder = tmp_path / "my pictures"
    (folder / "more").mkdir(parents=True)
    for number in range(70):
        Image.fromarray(images[number, 0]).save(folder / ("more" if number % 2 else "") / f"{number:03}.png")
    done = door("predict.py", f"run={run}", "images=my pictures", "average_flips=false", "data.eval_batch_size=32")
    for words in ("70 pictures", "28 x 28, grey", "… and 50 more"):
        assert words in done.stdout
    found = rows(run / "predicted" / "my_pictures.csv")
    assert {row["file"] for row in found} == {f"{'more/' * (n % 2)}{n:03}.png" for n in range(70)}
    right = [row["class"] == CLASS_NAMES[labels[int(row["file"][-7:-4])]] for row in found]
    assert sum(right) >= 50, "as many as such a network gets right, which needs the very way of training"
    for row in found:
        shares = {name: float(row[name]) for name in CLASS_NAMES}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
        assert row["class"] == max(shares, key=lambda name: shares[name])
        assert float(row["probability"]) == max(shares.values())
    assert Image.open(run / "predicted" / "my_pictures.png").width > 6 * 160, "six pictures side by side"

    # A large coloured photograph of the same shirt is taken for the same shirt; what is damaged is named.
    (large := tmp_path / "large").mkdir()
    canvas = Image.new("RGB", (400, 280), (0, 0, 90))
    canvas.paste(Image.fromarray(images[0, 0]).resize((280, 280), Image.Resampling.NEAREST).convert("RGB"), (60, 0))
    canvas.save(large / "photo.jpg", quality=95)
    odd = os.fsdecode(os.fsencode(large) + (b"/\xff\xfe.png" if os.uname().sysname == "Linux" else b"/1.png"))
    Path(odd).write_bytes((folder / "000.png").read_bytes())
    (large / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = door("predict.py", f"run={run}", "images=large", "average_flips=false", expect=1)
    assert "not classified: large/broken.png" in done.stderr
    first = next(row["class"] for row in found if row["file"] == "000.png")
    assert [row["class"] for row in rows(run / "predicted" / "large.csv")] == [first, first]
    assert len(rows(run / "predicted" / "my_pictures.csv")) == 70, "another's answers are left alone"


def test_a_pattern_and_a_long_name_in_80_columns(run: Path, door: Door, tmp_path: Path) -> None:
    name = f"{'long' * 20}\nline.webp"
    Image.new("L", (28, 28)).save(tmp_path / name)
    done = door("predict.py", f"run={run}", "images=lo*.webp")
    (line,) = done.stdout.split("\nfile")[1].split("\n\n")[0].splitlines()[1:]
    assert len(line) <= 80
