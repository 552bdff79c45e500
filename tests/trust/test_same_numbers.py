"""The same seed gives the same numbers, however many processes share the work."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Door
from quiet import quiet_trainer
from run_files import weights

from imgclf.callbacks.step_seed import StepSeed
from imgclf.data.fashion_mnist import FashionMNISTMini
from imgclf.images.augment import PadCropFlip
from imgclf.models.mlp import MLP


def trained(tmp_path: Path, num_workers: int) -> dict[str, torch.Tensor]:
    """Weights after two epochs with dropout and augmentation."""
    options: dict[str, Any] = {"in_channels": 1, "num_classes": 10, "resize": 28, "mean": [0.3], "std": [0.4]}
    data = FashionMNISTMini(
        batch_size=500,
        eval_batch_size=1000,
        val_fraction=0.1,
        seed=0,
        num_workers=num_workers,
        augment="shift",
        augmentations={"shift": PadCropFlip(pad_pixels=2, flip_probability=0.5, mode="reflect")},
        **options,
    )
    torch.manual_seed(0)
    net = MLP(
        in_channels=1,
        image_size=28,
        num_classes=10,
        hidden_sizes=[16],
        dropout=0.5,
        optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9),
    )
    trainer = quiet_trainer(
        max_epochs=2,
        limit_train_batches=5,
        limit_val_batches=1,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
        callbacks=[StepSeed(0)],
    )
    torch.manual_seed(num_workers)  # whatever went before
    trainer.fit(net, datamodule=data)
    return net.state_dict()


@pytest.mark.filterwarnings("ignore")
def test_workers_that_gather_batches_change_nothing(tmp_path: Path) -> None:
    alone, helped = trained(tmp_path, 0), trained(tmp_path, 2)
    assert all(torch.equal(alone[name], helped[name]) for name in alone)


@pytest.mark.parametrize("callbacks", ["default", "ema"])
def test_two_processes_validate_one_network_with_its_statistics(door: Door, tmp_path: Path, callbacks: str) -> None:
    here = Path(__file__).parent
    (tmp_path / "validated").mkdir()
    net = ("model=torchvision", "~model.net", "+model.net._target_=normed.Normed", f"callbacks={callbacks}")
    gauge = ("+callbacks.gauge._target_=validated.Validated", f"+callbacks.gauge.folder={tmp_path / 'validated'}")
    settings = (*net, *gauge, "trainer=ddp_cpu", "trainer.max_epochs=2", "data.batch_size=1000", "logger=none")
    path = os.pathsep.join([str(here / "gauges"), str(here / "nets")])
    door("train.py", *settings, "hydra.run.dir=run", PYTHONPATH=path)
    for epoch in (0, 1):
        a, b = (torch.load(tmp_path / "validated" / f"{rank}-{epoch}.pt", weights_only=True) for rank in (0, 1))
        assert a.keys() == b.keys() >= {"net.layers.1.running_mean"}
        assert [name for name in a if not torch.equal(a[name], b[name])] == []
    # And it is what the checkpoint gives back.
    kept = weights(tmp_path / "run", "last")
    assert all(torch.equal(kept[name], a[name]) for name in kept)
