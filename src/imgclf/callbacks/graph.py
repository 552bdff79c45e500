"""The network's graph."""

import copy
import logging
import warnings

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities.seed import isolate_rng

from imgclf.callbacks.board import writers
from imgclf.models.classifier import Classifier

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
                image = torch.zeros(pl_module.input_shape)
                with isolate_rng(), warnings.catch_warnings(), torch.no_grad():
                    warnings.simplefilter("ignore")  # the tracer's advice on conversions to Python numbers
                    writer.add_graph(net, image)
            except Exception as error:  # whatever a network of any origin does when it is traced
                log.warning(f"callbacks.graph: {type(pl_module.net).__name__} cannot be traced: {error}")
