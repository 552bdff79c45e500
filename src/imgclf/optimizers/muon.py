"""Muon for the matrices of hidden layers, AdamW for all else."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from imgclf.ranges import FractionBelow1, NumberAbove0, NumberFrom0


class Muon(torch.optim.AdamW):
    """Orthogonalised momentum (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks").

    A weight with two dimensions or more, kernels of convolutions as matrices (out, in x h x w), goes by

        w <- w - lr * (weight_decay * w + 0.2 sqrt(max(rows, columns)) * O)

    where O is the nearest matrix with orthogonal rows or columns to the Nesterov momentum. The factor gives a step the
    size of AdamW's (Liu et al. 2025, "Muon is scalable for LLM training", section 2.2), so one rate suits both. Biases,
    normalisation and the last layer are AdamW's. torch's own takes matrices alone, and leaves the rest to another one.

    Args:
        params: of the network, in its order.
        lr: learning rate of all.
        momentum: of the matrices.
        betas: of AdamW, for the others.
        eps: likewise.
        weight_decay: of matrices and last layer; biases and normalisation have none.
        head_lr_factor: by which the rate of the last layer's matrix is larger.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: NumberAbove0,
        momentum: FractionBelow1 = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: NumberAbove0 = 1e-8,
        weight_decay: NumberFrom0 = 0.01,
        head_lr_factor: NumberAbove0 = 1.0,
    ) -> None:
        every = list(params)
        head = max((place for place, p in enumerate(every) if p.ndim > 1), default=len(every))
        hidden = [p for p in every[:head] if p.ndim > 1]
        others = [p for p in every if p.ndim < 2]
        groups: list[dict[str, Any]] = [
            {"params": hidden, "momentum": momentum},
            {"params": every[head : head + 1], "lr": lr * head_lr_factor},
            {"params": others, "weight_decay": 0.0},
        ]
        filled = [group for group in groups if group["params"]]
        super().__init__(filled, lr=lr, betas=(betas[0], betas[1]), eps=eps, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """One update of all tensors that have a gradient; the closure's loss, or None without one."""
        with torch.enable_grad():
            loss = None if closure is None else closure()
        every = self.param_groups
        for group in every:
            for parameter in group["params"] if "momentum" in group else ():
                if parameter.grad is not None:
                    self._step_matrix(parameter, group)
        self.param_groups = [group for group in every if "momentum" not in group]
        try:
            super().step()
        finally:
            self.param_groups = every
        return loss

    def _step_matrix(self, weight: Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        if not state:  # AdamW looks for a step in every state that it loads
            state |= {"momentum_buffer": torch.zeros_like(weight), "step": torch.zeros(())}
        buffer = state["momentum_buffer"]
        buffer.lerp_(gradient, 1 - group["momentum"])
        update = gradient.lerp(buffer, group["momentum"]).flatten(1)
        size = 0.2 * math.sqrt(max(update.shape))
        weight.mul_(1 - group["lr"] * group["weight_decay"])
        weight.add_(orthogonalised(update).view(weight.shape), alpha=-group["lr"] * size)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Float (rows, columns) with singular values of 0.7 to 1.2, lower where they were next to none: five steps of
    Newton and Schulz in bfloat16."""
    a, b, c = 3.4445, -4.7750, 2.0315  # the quintic of Jordan et al.
    x = matrix.bfloat16()
    x = x.T if matrix.shape[0] > matrix.shape[1] else x
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if matrix.shape[0] > matrix.shape[1] else x).to(matrix.dtype)
