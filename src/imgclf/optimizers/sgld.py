"""Stochastic gradient Langevin dynamics (Welling & Teh 2011)."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from imgclf.errors import InputError
from imgclf.ranges import AtLeast1, NumberAbove0, NumberFrom0


class SGLD(Optimizer):
    """Gradient descent with Gaussian noise, whose iterates are samples of the posterior over the weights.

    For the mean loss L of the n training images, and a Gaussian prior of precision ``n * weight_decay``, the
    posterior at temperature T is proportional to exp(-n (L(w) + weight_decay |w|²/2) / T). One step is

        w <- w - lr * (dL/dw + weight_decay * w) + sqrt(2 * lr * T / n) * noise,   noise ~ N(0, 1)

    which is the paper's equation 4 with its step size ε = 2 lr / n. Temperature 0 is plain gradient descent. The
    paper lets the rate fall towards 0, so that the noise of the batches dies away before that of the sampling: use it
    with a schedule such as ``polynomial`` or ``square_root``. Averaging predictions over late iterates is the user's.

    The noise is a function of (seed, step, tensor), the same in every process of a run and after resuming.

    Args:
        params: tensors or parameter groups.
        lr: learning rate, above 0.
        num_images: n; null takes the number of training images of the run.
        temperature: T, 0 or more.
        weight_decay: precision of the prior, divided by n; 0 or more.
        seed: of the noise.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: NumberAbove0,
        num_images: AtLeast1 | None = None,
        temperature: NumberFrom0 = 1.0,
        weight_decay: NumberFrom0 = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(params, {"lr": lr, "temperature": temperature, "weight_decay": weight_decay})
        self.num_images = num_images
        self.seed = seed

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """One update of all tensors that have a gradient; the closure's loss, or None without one."""
        if self.num_images is None:
            raise InputError("optimizer.num_images is not known outside a Trainer: give the number of training images")
        with torch.enable_grad():
            loss = None if closure is None else closure()
        every = [(group, parameter) for group in self.param_groups for parameter in group["params"]]
        for index, (group, parameter) in enumerate(every, start=1):
            if parameter.grad is None:
                continue
            lr = float(group["lr"])
            scale = math.sqrt(2 * lr * group["temperature"] / self.num_images)
            # A tensor, as other optimizers have it, since checkpoints hold tensors best.
            step = self.state[parameter].setdefault("step", torch.zeros((), dtype=torch.int64))
            parameter.add_(parameter.grad.add(parameter, alpha=group["weight_decay"]), alpha=-lr)
            if scale > 0:
                generator = torch.Generator(parameter.device)
                generator.manual_seed(hash((self.seed, int(step), index)) & (2**63 - 1))
                form: dict[str, Any] = {"device": parameter.device, "dtype": parameter.dtype}
                parameter.add_(torch.randn(parameter.shape, generator=generator, **form), alpha=scale)
            step += 1
        return loss
