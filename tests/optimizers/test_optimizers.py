"""Optimizers by hand: parameters treated differently, Muon's orthogonal steps, Langevin dynamics."""

import math

import pytest
import torch
from torch import nn

from imgclf.optimizers.grouped import SGD, AdamW
from imgclf.optimizers.muon import Muon
from imgclf.optimizers.sgld import SGLD


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_the_last_layer_learns_faster_and_only_matrices_decay(kind: type[SGD]) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))
    optimizer = kind(net.parameters(), lr=0.1, head_lr_factor=10.0, decay_all=False, weight_decay=0.5)
    told = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    wanted = {"0.weight": (0.1, 0.5), "0.bias": (0.1, 0), "1.weight": (0.1, 0), "1.bias": (0.1, 0)}
    wanted |= {"3.weight": (1.0, 0.5), "3.bias": (1.0, 0)}
    assert {name: told[id(p)] for name, p in net.named_parameters()} == wanted
    for alone in (lambda ps, lr: kind(ps, lr, decay_all=False), Muon):  # all else is frozen
        assert [g["params"] for g in alone(net[1].parameters(), lr=0.1).param_groups] == [[*net[1].parameters()]]


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(32, 5), nn.Linear(5, 4))


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_hidden_matrices_take_orthogonal_steps_of_adamws_size_the_rest_adamws(memory: torch.memory_format) -> None:
    ours, theirs = net().to(memory_format=memory), net().to(memory_format=memory)
    settings = {"lr": 0.01, "betas": (0.9, 0.95), "weight_decay": 0.0}
    optimizers = Muon(ours.parameters(), **settings), torch.optim.AdamW(theirs.parameters(), **settings)
    before = [p.detach().clone() for p in ours.parameters()]
    for network, optimizer in zip((ours, theirs), optimizers, strict=True):
        torch.manual_seed(1)
        network(torch.randn(6, 3, 4, 4)).square().sum().backward()
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


def walk(optimizer: torch.optim.Optimizer, w: nn.Parameter, steps: int, curvature: float = 1.0) -> None:
    """Steps on the loss curvature/2 (w - 1)², of each coordinate by itself."""
    for _ in range(steps):
        w.grad = curvature * (w.detach() - 1)
        optimizer.step()


def test_its_iterates_have_the_mean_and_the_variance_of_the_posterior() -> None:
    n, a, lr, temperature, weight_decay = 50, 2.0, 0.02, 0.25, 2.0
    w = nn.Parameter(torch.zeros(20_000))
    walk(SGLD([w], lr, n, temperature, weight_decay, seed=0), w, steps=250, curvature=a)
    # The posterior exp(-n (a/2 (w-1)² + decay/2 w²) / T) is a Gaussian of precision n (a + decay) / T around
    # a / (a + decay); steps of finite size widen its variance by 1 / (1 - lr (a + decay) / 2).
    precision = n * (a + weight_decay) / temperature
    variance = 1 / precision / (1 - lr * (a + weight_decay) / 2)
    assert w.mean().item() == pytest.approx(a / (a + weight_decay), abs=5 * math.sqrt(variance / 20_000))
    assert w.var().item() == pytest.approx(variance, rel=0.05)  # five standard errors of a variance of 20,000


def test_the_noise_depends_on_the_seed_the_step_and_the_tensor_alone_also_when_resumed() -> None:
    def run(seed: int, stop: int = 6) -> list[torch.Tensor]:
        ws = [nn.Parameter(torch.zeros(5)), nn.Parameter(torch.zeros(5))]
        optimizer = SGLD(ws, 0.1, 10, seed=seed)
        for step in range(6):
            if step == stop:
                torch.manual_seed(step)
                state, optimizer = optimizer.state_dict(), SGLD(ws, 0.1, 10, seed=seed)
                optimizer.load_state_dict(state)
            for w in ws:
                w.grad = torch.zeros(5)
            optimizer.step()
        return [w.detach() for w in ws]

    first, again, other = run(0), run(0, stop=3), run(1)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], first[1])
