"""Few images: of some classes, which a loss or a sampler makes up for; of all, which cross-validation makes up for."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Door
from run_files import metrics
from torch.nn import functional as F  # noqa: N812

from imgclf.data.batches import TrainBatches
from imgclf.models.losses import CrossEntropy, Focal

LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 3.0]])
LABELS = torch.tensor([0, 0, 0, 1])


def test_balanced_weights_are_of_all_images_by_those_of_a_class() -> None:
    loss = CrossEntropy(class_weights="balanced")
    loss.prepare(LABELS, num_classes=2)
    wanted = F.cross_entropy(LOGITS, LABELS, weight=torch.tensor([4 / (2 * 3), 4 / (2 * 1)]))
    torch.testing.assert_close(loss(LOGITS, LABELS), wanted)


def test_focal_loss() -> None:
    plain, focal = Focal(gamma=0.0), Focal(gamma=2.0)
    torch.testing.assert_close(plain(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS))
    p = [1 / (1 + math.exp(-margin)) for margin in (2, -1, 0, 3)]  # of the right classes
    wanted = sum(-((1 - q) ** 2) * math.log(q) for q in p) / 4
    assert focal(LOGITS, LABELS).item() == pytest.approx(wanted, rel=1e-5)
    torch.testing.assert_close(focal(LOGITS, F.one_hot(LABELS).float()), focal(LOGITS, LABELS))


def test_a_balanced_sampler_draws_all_classes_equally_often_the_same_for_any_number_of_processes() -> None:
    labels = torch.cat([torch.zeros(900), torch.ones(100)]).long()
    whole = TrainBatches(1000, 100, seed=1, balanced=labels)
    batches = list(whole)
    assert 0.45 < labels[torch.cat(batches)].float().mean() < 0.55
    halves = [list(TrainBatches(1000, 100, seed=1, balanced=labels, rank=rank, world_size=2)) for rank in (0, 1)]
    assert all(torch.equal(torch.cat(pair), batch) for *pair, batch in zip(*halves, batches, strict=True))
    whole.set_epoch(1)
    assert not torch.equal(next(iter(whole)), batches[0])


@pytest.fixture
def rare(tmp_path: Path) -> tuple[str, ...]:
    """The arguments for images of two kinds that are hard to tell apart, one of them rare."""
    draws, parts = np.random.default_rng(0), {}
    for part, counts in (("train", (1000, 50)), ("test", (300, 300))):
        labels = np.repeat([0, 1], counts)
        shift = 6 * labels[:, None, None, None]
        parts[f"{part}_images"] = (draws.integers(0, 200, (len(labels), 1, 8, 8)) + shift).astype(np.uint8)
        parts[f"{part}_labels"] = labels
    np.savez(tmp_path / "rare.npz", **parts)
    given = ("data=arrays", "data.file=rare.npz", "data.num_classes=2", "data.resize=8", "model.hidden_sizes=[16]")
    given += ("logger=none", "callbacks=bare", "metrics=full")
    return (*given, "trainer.max_epochs=6", "optimizer=adamw", "optimizer.lr=0.01")


@pytest.mark.slow
def test_a_rare_class_is_found_more_often(rare: tuple[str, ...], door: Door, tmp_path: Path) -> None:
    found = []
    for number, remedy in enumerate(("test=true", "loss.class_weights=[0.1,2]", "data.sampler=balanced")):
        door("train.py", *rare, remedy, f"hydra.run.dir={number}")
        found.append(metrics(tmp_path / str(number))["test/balanced_acc"])
    assert min(found[1:]) > found[0] + 0.02


@pytest.mark.slow
def test_cross_validation_validates_on_every_image_once_and_is_averaged(door: Door, tmp_path: Path) -> None:
    given = ("data.folds=3", "data.fold=0,1,2", "debug=fast", "logger=none", "callbacks=bare", "test=false")
    told = door("train.py", "-m", *given, "hydra.sweep.dir=cv").stdout
    runs = sorted((tmp_path / "cv").glob("data.fold*"))
    assert [json.loads((run / "run.json").read_text())["train_images"] for run in runs] == [6666, 6667, 6667]
    mean = np.mean([metrics(run)["best/val/acc"] for run in runs])
    assert f"{mean:.4f} ±" in told, "one row, of three"
