"""Starting from weights that exist: torchvision's, a file's, another run's; and holding layers fixed."""

import logging
import shutil
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from conftest import Door, Refused, Undisturbed
from PIL import Image
from run_files import assert_same, weights

import imgclf
from imgclf.errors import InputError
from imgclf.models.pretrained import fit_weights
from imgclf.models.torchvision_net import torchvision_net

Weights = dict[str, torch.Tensor]
RESNET = ("model=resnet18", "model.widths=[8,16,24,32]", "model.blocks=1", "data.resize=32", "debug=fast")
RESNET += ("data.batch_size=32", "data.eval_batch_size=50", "logger=none", "callbacks=bare")


@pytest.fixture
def source(undisturbed: Undisturbed) -> Path:
    """A run with ten classes."""
    return undisturbed(*RESNET)


def test_another_runs_backbone_gets_a_new_head_and_is_held(source: Path, door: Door, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (600, 1, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=np.arange(600) % 2)
    given = (*RESNET, "data=arrays", "data.file=x.npz", "data.num_classes=2", "test=false", "data.class_names=[a,b]")
    given += (f"init_from={source}", "freeze=[net.stem,net.stage1]")
    told = door("train.py", *given, "hydra.run.dir=run").stderr
    before, after = weights(source), weights(tmp_path / "run")
    head = [name for name in after if name.startswith("net.") and before[name].shape != after[name].shape]
    assert len(head) == 2
    new = f"newly made: {', '.join(name.removeprefix('net.') for name in head)}"
    assert new in told
    assert new in door("train.py", *given, "init_from=run", "data.class_names=[b,a]", "hydra.run.dir=other").stderr
    body = [name for name in after if name.startswith("net.") and name not in head and name.endswith("weight")]
    held = [name for name in body if torch.equal(before[name], after[name])]
    assert held == [name for name in body if name.startswith(("net.stem", "net.stage1"))]


@pytest.mark.slow
def test_what_is_unfrozen_later_is_trained_from_then_on(source: Path, door: Door, tmp_path: Path) -> None:
    given = (*RESNET, f"init_from={source}", "freeze=backbone", "unfreeze_at_epoch=1", "data.seed=5")
    told = door("train.py", *given, "trainer.max_epochs=1", "hydra.run.dir=parts").stderr
    assert [words in told for words in ("split otherwise there", "unfreeze_at_epoch=1: the run ended")] == [True, True]
    before, first = weights(source), weights(tmp_path / "parts")
    name = next(name for name in first if name.startswith("net.") and name.endswith("weight"))
    assert torch.equal(before[name], first[name])
    door("train.py", "resume=parts", "trainer.max_epochs=3")
    assert not torch.equal(first[name], weights(tmp_path / "parts")[name])
    door("train.py", *given, "trainer.max_epochs=3", "hydra.run.dir=whole")
    assert_same(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_is_held_and_trained_later_like_any_other(door: Door, tmp_path: Path) -> None:
    few = ("data.batch_size=32", "trainer=cpu", "trainer.limit_train_batches=2", "logger=none", "callbacks=bare")
    given = (*few, "freeze=backbone", "unfreeze_at_epoch=1", "trainer.max_epochs=2")
    door("train.py", *given, "hydra.run.dir=plain")
    door("train.py", *given, "hydra.run.dir=compiled", "model.compile=true", fresh=True)
    torch.testing.assert_close(weights(tmp_path / "compiled"), weights(tmp_path / "plain"))


def test_what_cannot_be_started_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"other.weight": torch.zeros(3)}, "mlp.pt")
    Path("damaged.pt").write_bytes(b"PK no archive")
    for given, said in (
        ("init_from=nowhere", "init_from=.*nowhere"),
        ("init_from=mlp.pt", "none of its tensors fit"),
        ("init_from=damaged.pt", r"damaged\.pt .*cannot be read"),
        ("freeze=[net.laye]", r"freeze=net\.laye"),
        ("freeze=backbone unfreeze_at_epoch=0", "unfreeze_at_epoch=0"),
        ("unfreeze_at_epoch=2", "unfreeze_at_epoch=2.*freeze=backbone"),
    ):
        with pytest.raises(InputError, match=said):
            imgclf.fit(imgclf.compose([*RESNET, *given.split()]))


@pytest.fixture
def photos(tmp_path: Path) -> tuple[str, ...]:
    """The arguments for ten photos of each of three colours."""
    draws = np.random.default_rng(0)
    for number, colour in enumerate([(200, 60, 60), (60, 200, 60), (60, 60, 200)]):
        (folder := tmp_path / "photos" / f"kind{number}").mkdir(parents=True)
        for name in range(10):
            pixels = draws.integers(0, 90, (40, 50, 3)) + np.array(colour) // 2
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{name}.png")
    given = ("data=image_folder", "data.dir=photos", "data.batch_size=8", "logger=none", "callbacks=bare")
    return (*given, "optimizer.lr=0.001")


@pytest.fixture
def pretrained(tmp_path: Path) -> Weights:
    """torchvision's form of ResNet-18 for 1,000 classes, as ``w.pth``."""
    net = torchvision.models.resnet18()
    torch.save(net.state_dict(), tmp_path / "w.pth")
    return net.state_dict()


def test_the_last_layer_is_trained_on_photos(
    photos: tuple[str, ...], pretrained: Weights, door: Door, tmp_path: Path
) -> None:
    size = ("model=torchvision", "data.stored_size=32", "trainer.max_epochs=1", "freeze=backbone")
    told = door("train.py", *photos, *size, "model.net.weights=w.pth", "hydra.run.dir=run")
    assert "120 of 122 tensors loaded; newly made: fc.weight, fc.bias" in told.stderr
    assert "ResNet, 1,539 parameters" in told.stderr  # 3 x 512 + 3 are trained
    kept = {name.removeprefix("net."): tensor for name, tensor in weights(tmp_path / "run").items()}
    assert all(torch.equal(kept[name], tensor) for name, tensor in pretrained.items() if not name.startswith("fc."))
    door("train.py", "rerun=run", "hydra.run.dir=again")  # from those weights, else it would not come to the same
    (tmp_path / "w.pth").unlink()
    assert "model.net.weights=w.pth" in door("train.py", "rerun=run", expect=2).stderr
    assert "test" in door("evaluate.py", "run=run").stdout, "without the file"


def test_default_weights_are_downloaded_once_and_held_against_their_checksum(
    pretrained: Weights, served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    packed = (tmp_path / "w.pth").read_bytes()
    entry = torchvision.models.ResNet18_Weights.DEFAULT.value
    for name in (f"resnet18-{sha256(packed).hexdigest()[:8]}.pth", "resnet18-00000000.pth"):
        (served[0] / name).write_bytes(packed)
        monkeypatch.setattr(entry, "url", f"{served[1]}/{name}")
        if "00000000" in name:
            with pytest.raises(InputError, match=r"resnet18-00000000\.pth cannot be had .*hash.*weights=FILE"):
                torchvision_net("resnet18", 3, 2, weights="DEFAULT")
            assert not (tmp_path / "home" / "hub" / "checkpoints" / name).exists()
        else:
            net = torchvision_net("resnet18", 3, 2, weights="DEFAULT")
            assert torch.equal(net.conv1.weight, pretrained["conv1.weight"])
            monkeypatch.setattr(entry, "url", f"http://127.0.0.1:9/{name}")
            torchvision_net("resnet18", 3, 2, weights="DEFAULT")


@pytest.mark.usefixtures("pretrained")
def test_preprocessing_is_what_the_weights_or_the_run_were_trained_with_unless_given(
    source: Path, photos: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [*photos, "model=torchvision", "model.net.weights=w.pth"]
    data = imgclf.compose(given).data
    assert (data.mean, data.std) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert (data.stored_size, data.resize) == (224, 224)
    larger = ["model.net.name=regnet_y_16gf", "model.net.weights=IMAGENET1K_SWAG_E2E_V1"]
    assert imgclf.compose([*photos, "model=torchvision", *larger]).data.stored_size == 384
    assert imgclf.compose([*photos, "model=torchvision", "data.stored_size=64"]).model.net.image_size == 64
    vits = [torchvision.models.VisionTransformer(size, 16, 1, 1, 8, 8) for size in (32, 64)]
    fit_weights(vits[1], vits[0].state_dict(), "w.pth")
    assert torch.equal(*(vit.encoder.pos_embedding[:, 0] for vit in vits)), "interpolated but for the first"
    data = imgclf.compose([*given, "data.stored_size=48", "data.mean=[0.5,0.5,0.5]"]).data
    assert (data.mean, data.resize) == ([0.5, 0.5, 0.5], 48)
    given = [*photos, "model=resnet18", f"init_from={source}"]  # of 32 x 32 grey pixels
    data = imgclf.compose(given).data
    assert (data.stored_size, data.mean, data.std) == (32, 3 * [0.286], 3 * [0.353])
    assert imgclf.compose([*given, "data.resize=48", "data.in_channels=1"]).data.mean == [0.286]


def test_grey_images_are_answered_as_colours(
    pretrained: Weights, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="imgclf")
    logging.getLogger("imgclf").propagate = True
    grey = torchvision_net("resnet18", 1, 1000, weights=str(tmp_path / "w.pth")).eval()
    safetensors = pytest.importorskip("safetensors.torch", reason="uv sync --extra export")
    safetensors.save_file({f"model.{name}": part for name, part in pretrained.items()}, tmp_path / "w.safetensors")
    colour = torchvision_net("resnet18", 3, 1000, weights=str(tmp_path / "w.safetensors")).eval()
    images = torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(grey(images), colour(images.expand(-1, 3, -1, -1)), atol=1e-3, rtol=1e-3)
    assert "conv1.weight, from 3 to 1 channels" in caplog.text


def test_weights_that_cannot_be_had(photos: tuple[str, ...], refused: Refused) -> None:
    given = f"train.py {' '.join(photos)} model=torchvision model.net.weights"
    refused(f"{given}=DEFALT", "model.net.weights=DEFALT", "DEFAULT?")
    refused(f"{given}=DEFAULT model.net.name=resnett18", "model.net.name=resnett18", "resnet18?")
    nowhere = {"https_proxy": "http://127.0.0.1:9", "TORCH_HOME": "logs/hub"}
    refused(f"{given}=DEFAULT", "resnet18-f37072fd.pth", "model.net.weights=FILE", **nowhere)


@pytest.mark.slow
def test_a_network_of_timm_starts_from_a_file(photos: tuple[str, ...], door: Door, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm", reason="uv sync --extra timm")
    torch.save(timm.create_model("resnet10t.c3_in1k").state_dict(), tmp_path / "w.pth")
    net = ("model=timm", "model.net.name=resnet10t.c3_in1k", "model.net.weights=w.pth", "data.stored_size=32")
    told = door("train.py", *photos, *net, "freeze=backbone", "trainer.max_epochs=1", "hydra.run.dir=run").stderr
    assert "newly made: fc.weight, fc.bias" in told
    assert "mean:\n  - 0.485" in (tmp_path / "run" / ".hydra" / "config.yaml").read_text()
