"""The activation functions of a network, as curves."""

import copy
from collections.abc import Iterator

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn

from imgclf.callbacks.board import last_step, log_picture, pages
from imgclf.errors import InputError
from imgclf.figures.curves import activation_curve, draw_activations, pixels
from imgclf.models.activations import ACTIVATIONS


class ActivationCurves(Callback):
    """Draw each kind of activation function that the network has, and its derivative, when training begins.

    Functions with a learnt slope are drawn for each layer, and at the end of training again.

    Args:
        low: where x begins.
        high: where it ends.
        points: values of x.

    Raises:
        InputError: ``low`` is not below ``high``, or there are fewer than two points.
    """

    def __init__(self, low: float, high: float, points: int) -> None:
        if low >= high or points < 2:
            raise InputError(
                f"callbacks.activation_curves: low={low} must lie below high={high}, and points={points} be at least 2"
            )
        self.inputs = np.linspace(low, high, points)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 0:
            self._draw(trainer, dict(activations(pl_module)), 0)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found = dict(activations(pl_module))
        if any(list(module.parameters()) for module in found.values()):
            self._draw(trainer, found, last_step(trainer))

    def _draw(self, trainer: Trainer, found: dict[str, nn.Module], step: int) -> None:
        # Of copies, which become double precision. A network that has diverged may have learnt no finite slope.
        curves = {name: activation_curve(copy.deepcopy(m).cpu(), self.inputs) for name, m in found.items()}
        curves = {name: curve for name, curve in curves.items() if np.isfinite(curve.values + curve.slopes).all()}
        if curves and pages(trainer):
            log_picture(trainer, "activations", pixels(draw_activations(curves)), step)


def activations(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The elementwise functions of this package that a network has: each kind once, one with parameters each time."""
    names = {kind: name for name, kind in ACTIVATIONS.items()}
    seen: set[type[nn.Module]] = set()
    for path, part in module.named_modules():
        kind = type(part)
        if kind not in names or (kind in seen and not list(part.parameters())):
            continue
        seen.add(kind)
        yield (f"{names[kind]} {path.removeprefix('net.')}" if list(part.parameters()) else names[kind]), part
