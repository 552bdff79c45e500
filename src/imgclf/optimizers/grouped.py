"""torch's optimizers, which may treat a network's parameters differently: its norms, its biases, its last layer."""

from typing import Any

import torch

from imgclf.ranges import NumberAbove0, NumberFrom0


class _Grouped:
    """What the optimizers below have besides their own of torch.

    Args:
        params: of the network, in its order, so that the last layer's come last: a matrix, perhaps a bias.
        lr: learning rate.
        head_lr_factor: by which that of the last layer is larger; a schedule scales both.
        decay_all: False lets weight decay leave out what has fewer than two dimensions: biases, and normalisation.
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
        every = list(params)
        head = max((place for place, p in enumerate(every) if p.ndim > 1), default=len(every))
        groups: dict[tuple[float, bool], dict[str, Any]] = {}  # one, as torch makes it, where all are treated alike
        for place, parameter in enumerate(every):
            factor, decays = head_lr_factor if place >= head else 1.0, decay_all or parameter.ndim > 1
            own: dict[str, Any] = {"params": [], "lr": lr * factor} | ({} if decays else {"weight_decay": 0.0})
            groups.setdefault((factor, decays), own)["params"].append(parameter)
        super().__init__(list(groups.values()), lr=lr, **settings)  # type: ignore[call-arg]


class SGD(_Grouped, torch.optim.SGD):
    """torch's, by groups: ``head_lr_factor`` times the rate for the last layer, no decay of biases by ``decay_all``."""


class AdamW(_Grouped, torch.optim.AdamW):
    """torch's, by the same groups."""
