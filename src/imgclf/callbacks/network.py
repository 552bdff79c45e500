"""What the network is made of, for TensorBoard: its graph, its activation functions, its weights."""

import copy
import logging
import warnings

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.seed import isolate_rng
from torch.optim import Optimizer

from imgclf.callbacks.loggers import log_picture, pages, writers
from imgclf.errors import InputError
from imgclf.figures.curves import activation_curve, draw_activations, pixels
from imgclf.models.activations import ACTIVATIONS
from imgclf.models.classifier import Classifier
from imgclf.ranges import AtLeast1, AtLeast2, require

log = logging.getLogger(__name__)


class Graph(Callback):
    """Draw the network as TensorBoard's graph of modules and operations, once, when training begins.

    A copy of it is traced, on the processor and as for evaluation, so that neither running means nor random numbers
    of the network itself are touched. A network that cannot be traced is named in a warning, and trained.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step > 0 or not isinstance(pl_module, Classifier):
            return
        for writer in writers(trainer):
            try:
                net = copy.deepcopy(pl_module.net).to("cpu", torch.float32).eval()
                with isolate_rng(), warnings.catch_warnings(), torch.no_grad():
                    warnings.simplefilter("ignore")  # the tracer's advice on conversions to Python numbers
                    writer.add_graph(net, torch.zeros(pl_module.input_shape))
            except Exception as error:  # whatever a network of any origin does when it is traced
                log.warning(f"callbacks.graph: {type(pl_module.net).__name__} cannot be traced: {error}")


class ActivationCurves(Callback):
    """Draw each kind of activation function that the network has, and its derivative, when training begins.

    Args:
        low: where x begins.
        high: where it ends.
        points: values of x.
    """

    def __init__(self, low: float, high: float, points: AtLeast2) -> None:
        require("callbacks.activation_curves", ActivationCurves.__init__, locals())
        if low >= high:
            raise InputError(f"callbacks.activation_curves.low={low} must lie below high={high}")
        self.inputs = np.linspace(low, high, points)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        names = {kind: name for name, kind in ACTIVATIONS.items()}
        # Copies, which become double precision.
        found = {names[type(m)]: copy.deepcopy(m).cpu() for m in pl_module.modules() if type(m) in names}
        if found and pages(trainer) and trainer.global_step == 0:
            curves = {name: activation_curve(module, self.inputs) for name, module in found.items()}
            log_picture(trainer, "activations", pixels(draw_activations(curves)), 0)


class Histograms(Callback):
    """Every n-th epoch, at its last step: each parameter, and its gradient before any clipping.

    Values that are no finite numbers are left out of the histogram and counted in ``not_finite/NAME``.

    Args:
        bins: of equal width, from the least value to the greatest.
        every_n_epochs: how often; the last epoch that the run is configured for always.
    """

    def __init__(self, bins: AtLeast1, every_n_epochs: AtLeast1) -> None:
        require("callbacks.histograms", Histograms.__init__, locals())
        self.bins, self.every_n_epochs = bins, every_n_epochs

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        epoch, step = trainer.current_epoch + 1, trainer.global_step
        if not trainer.is_last_batch or (epoch % self.every_n_epochs and epoch != trainer.max_epochs):
            return
        for writer in writers(trainer):
            for name, parameter in pl_module.named_parameters():
                for kind, tensor in (("weights", parameter.detach()), ("gradients", parameter.grad)):
                    if tensor is None:
                        continue
                    values, tag = tensor.float().flatten().cpu(), f"{kind}/{name.removeprefix('net.')}"
                    finite = values[values.isfinite()]
                    if len(finite):
                        writer.add_histogram(tag, finite, step, bins=self.bins)
                    if len(finite) < len(values):
                        writer.add_scalar(f"not_finite/{tag}", len(values) - len(finite), step)
