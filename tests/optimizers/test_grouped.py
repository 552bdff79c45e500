"""Parameters that are treated differently."""

import pytest
from torch import nn

from imgclf.optimizers.grouped import SGD, AdamW

NET = (nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 3))


@pytest.mark.parametrize("kind", [SGD, AdamW])
def test_the_last_layer_learns_faster_and_only_matrices_decay(kind: type[SGD]) -> None:
    net = nn.Sequential(*NET)
    optimizer = kind(net.parameters(), lr=0.1, head_lr_factor=10.0, decay_all=False, weight_decay=0.5)
    told = {id(p): (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    wanted = {"0.weight": (0.1, 0.5), "0.bias": (0.1, 0), "1.weight": (0.1, 0), "1.bias": (0.1, 0)}
    wanted |= {"3.weight": (1.0, 0.5), "3.bias": (1.0, 0)}
    assert {name: told[id(p)] for name, p in net.named_parameters()} == wanted
