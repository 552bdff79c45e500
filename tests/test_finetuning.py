"""Starting from weights that exist, holding layers fixed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Door, Doors, Refused
from run_files import assert_same, weights

RESNET = ("model=resnet18", "data.resize=32", "debug=fast", "trainer.limit_train_batches=2", "logger=none")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Path:
    """A run with ten classes."""
    folder = tmp_path_factory.mktemp("source")
    doors(folder)("train.py", *RESNET, "hydra.run.dir=source")
    return folder / "source"


@pytest.fixture
def two_classes(tmp_path: Path) -> tuple[str, ...]:
    """The arguments for other images, of two classes."""
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (600, 1, 28, 28), dtype=np.uint8)
    part = {"train_images": images, "train_labels": np.arange(600) % 2}
    np.savez(tmp_path / "x.npz", **part, test_images=images, test_labels=np.arange(600) % 2)
    return ("data=arrays", "data.file=x.npz", "data.num_classes=2")


def test_only_a_new_head_is_trained_on_another_runs_backbone(
    source: Path, two_classes: tuple[str, ...], door: Door, tmp_path: Path
) -> None:
    told = door("train.py", *RESNET, *two_classes, f"init_from={source}", "freeze=backbone", "hydra.run.dir=run").stderr
    before, after = weights(source), weights(tmp_path / "run")
    head = [name for name in after if name.startswith("net.") and before[name].shape != after[name].shape]
    assert len(head) == 2
    assert f"newly made: {', '.join(name.removeprefix('net.') for name in head)}" in told
    for name in after:
        if name.startswith("net.") and name not in head:
            assert torch.equal(before[name], after[name]), f"{name}, running means of batch normalisation among them"
    lists = f"freeze=[{head[0].rpartition('.')[0]}]"
    door("train.py", *RESNET, *two_classes, f"init_from={source}", lists, "hydra.run.dir=other")
    changed = weights(tmp_path / "other")
    body = [name for name in changed if name.startswith("net.") and name not in head and name.endswith("weight")]
    assert not any(torch.equal(before[name], changed[name]) for name in body), "all but the head"


def test_what_is_unfrozen_later_is_trained_from_then_on_and_resumes_to_the_very_numbers(
    source: Path, door: Door, tmp_path: Path
) -> None:
    given = (*RESNET, f"init_from={source}", "freeze=backbone", "unfreeze_at_epoch=1")
    door("train.py", *given, "trainer.max_epochs=1", "hydra.run.dir=parts")
    before, first = weights(source), weights(tmp_path / "parts")
    name = next(name for name in first if name.startswith("net.") and name.endswith("weight"))
    assert torch.equal(before[name], first[name])
    door("train.py", "resume=parts", "trainer.max_epochs=3")
    assert not torch.equal(first[name], weights(tmp_path / "parts")[name])
    door("train.py", *given, "trainer.max_epochs=3", "hydra.run.dir=whole")
    assert_same(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("init_from=nowhere", ["init_from=nowhere"]),
        ("init_from={mlp}", ["none of its tensors fit"]),
        ("init_from={damaged}", ["damaged.pt", "cannot be read"]),
        ("freeze=[net.laye]", ["freeze=net.laye"]),
        ("freeze=3", ["freeze=3"]),
        ("freeze=backbone unfreeze_at_epoch=0", ["unfreeze_at_epoch=0"]),
    ],
)
def test_what_cannot_be_started_from(
    given: str, words: list[str], door: Door, refused: Refused, tmp_path: Path
) -> None:
    torch.save({"other.weight": torch.zeros(3)}, tmp_path / "mlp.pt")
    (tmp_path / "damaged.pt").write_bytes(b"PK no archive")
    given = given.format(mlp=tmp_path / "mlp.pt", damaged=tmp_path / "damaged.pt")
    refused(f"train.py {' '.join(RESNET)} {given} hydra.run.dir=run", *words, may_leave=FOLDER)


FOLDER = tuple(f"run{part}" for part in ("", "/run.json", "/error.txt", "/train.log", "/.hydra"))
FOLDER += tuple(f"run/.hydra/{name}.yaml" for name in ("config", "overrides", "hydra"))
