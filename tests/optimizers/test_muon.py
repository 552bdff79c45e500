"""Muon: steps of equal size in all directions of a hidden matrix, AdamW's steps elsewhere."""

from pathlib import Path

import pytest
import torch
from conftest import Door
from run_files import metrics
from torch import nn

from imgclf.optimizers.muon import Muon


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 5), nn.Linear(5, 4))


def gradients(network: nn.Module) -> None:
    network(torch.randn(6, 3, 4, 4)).square().sum().backward()


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_hidden_matrices_take_orthogonal_steps_of_adamws_size_the_rest_adamws(memory: torch.memory_format) -> None:
    ours, theirs = net().to(memory_format=memory), net().to(memory_format=memory)
    settings = {"lr": 0.01, "betas": (0.9, 0.95), "weight_decay": 0.0}
    optimizers = Muon(ours.parameters(), **settings), torch.optim.AdamW(theirs.parameters(), **settings)
    before = [p.detach().clone() for p in ours.parameters()]
    for network, optimizer in zip((ours, theirs), optimizers, strict=True):
        torch.manual_seed(1)
        gradients(network)
        optimizer.step()
    names = [name for name, _ in ours.named_parameters()]
    for name, then, own, other in zip(names, before, ours.parameters(), theirs.parameters(), strict=True):
        if name in ("0.weight", "3.weight"):
            step = (own.detach() - then).flatten(1)
            values = torch.linalg.svdvals(step) / (0.01 * 0.2 * max(step.shape) ** 0.5)
            assert values.min() > 0.3
            assert values.max() < 1.3
            assert torch.sign(step).eq(-torch.sign(own.grad.flatten(1))).float().mean() > 0.6, "downhill"
        else:
            assert torch.equal(own, other), name


def test_a_network_learns_by_it(door: Door, tmp_path: Path) -> None:
    door("train.py", "optimizer=muon", "trainer.max_epochs=1", "callbacks=bare", "logger=none", "hydra.run.dir=run")
    assert metrics(tmp_path / "run")["val/acc"] > 0.7, "chance is 0.1"
