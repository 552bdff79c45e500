"""torch's optimizers, which may treat a network's parameters differently: its norms, its biases, its last layer."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from imgclf.ranges import NumberAbove0, NumberFrom0


def grouped(
    parameters: Iterable[nn.Parameter], lr: float, head_lr_factor: float, decay_all: bool
) -> list[dict[str, Any]] | list[nn.Parameter]:
    """Groups for an optimizer; one, as torch would make it, where all parameters are treated alike.

    Args:
        parameters: in the network's order, so that the last layer's come last: a matrix, perhaps a bias.
        lr: of all but the last layer.
        head_lr_factor: by which the last layer's is larger.
        decay_all: False lets weight decay leave out what has fewer than two dimensions: biases, and normalisation.
    """
    every = list(parameters)
    if not every or (head_lr_factor == 1 and decay_all):
        return every
    head = next(i for i in reversed(range(len(every))) if every[i].ndim > 1)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for place, parameter in enumerate(every):
        groups.setdefault((place >= head, parameter.ndim < 2), []).append(parameter)
    return [
        {"params": own, "lr": lr * (head_lr_factor if is_head else 1)}
        | ({"weight_decay": 0.0} if is_flat and not decay_all else {})
        for (is_head, is_flat), own in groups.items()
    ]


class _Grouped:
    """What the optimizers below have besides their own of torch.

    Args:
        params: of the network, in its order.
        lr: learning rate.
        head_lr_factor: by which that of the last layer is larger; a schedule scales both.
        decay_all: False leaves biases and normalisation out of the weight decay.
        settings: torch's other arguments.
    """

    def __init__(
        self,
        params: Any,
        lr: NumberFrom0 = 1e-3,
        head_lr_factor: NumberAbove0 = 1.0,
        decay_all: bool = True,
        **settings: Any,
    ) -> None:
        super().__init__(grouped(params, lr, head_lr_factor, decay_all), lr=lr, **settings)  # type: ignore[call-arg]


class SGD(_Grouped, torch.optim.SGD):
    """torch's, by groups: ``head_lr_factor`` times the rate for the last layer, no decay of biases by ``decay_all``."""


class AdamW(_Grouped, torch.optim.AdamW):
    """torch's, by the same groups."""
