"""Langevin dynamics against what can be worked out by hand."""

import math

import pytest
import torch
from torch import nn

from imgclf.optimizers.sgld import SGLD


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
