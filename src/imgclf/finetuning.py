"""Starting from another run's weights, and holding layers as they are."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn

from imgclf.errors import InputError, hint
from imgclf.models.classifier import Classifier
from imgclf.models.misfit import head_of
from imgclf.models.pretrained import fit_weights, read_weights
from imgclf.run_folder import RunFolder

log = logging.getLogger(__name__)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def init_from(model: LightningModule, source: str, now: Mapping[str, Any]) -> None:
    """Give the network the weights of a run's best epoch, or of a file, as far as they fit; ``now`` is config.data."""
    folder = RunFolder(source)
    file = Path(source) if not folder.path.is_dir() else RunFolder.existing(source).best
    if not file.is_file():
        raise InputError(f"init_from={source}: there is no {file}; give a run folder, or a file of weights")
    net, state = model.get_submodule("net"), read_weights(file)
    data = folder.read_config()["data"] if folder.path.is_dir() else {}
    there, here = (list(map(str, given.get("class_names") or ())) for given in (data, now))
    if there and here and there != here and isinstance(model, Classifier):
        head = f"net.{head_of(net, model.num_classes)}."
        state = {name: tensor for name, tensor in state.items() if not name.startswith(head)}
        log.info(f"init_from={source}: its classes are {', '.join(there[:10])}, so the layer for them is made anew")
    fit_weights(net, state, source)
    if data:  # which the command line has asked as well
        log.info(f"images as there, unless given: {data.get('resize')} pixels, mean {data.get('mean')}")
        same = [[given.get(key) for key in ("_target_", "dir", "file")] for given in (data, now)]
        parts = ("seed", "val_fraction", "folds", "fold", "test_fraction", "test_seed")
        split = [[given.get(key) or 0 for key in parts] for given in (data, now)]
        if same[0] == same[1] and (split[0] != split[1] or data.get("fit_on", "train") != now.get("fit_on", "train")):
            told = "may be split otherwise there, so that the weights know images of this validation or test"
            log.warning(f"init_from={source}: {told}")


class Freeze(Callback):
    """Hold layers as they are: no gradients, and batch normalisation with the statistics that it has.

    Args:
        model: the network.
        layers: names of its parts, such as ``net.layer1``; or ``backbone``, all but the layer that gives the logits.
        unfreeze_at_epoch: from which, counted from 0, they are trained as well; None for never.

    Raises InputError: the network has no such part.
    """

    def __init__(self, model: LightningModule, layers: str | Sequence[str], unfreeze_at_epoch: int | None) -> None:
        self.unfreeze_at_epoch, self.is_frozen = unfreeze_at_epoch, False
        parts = _parts(model, [layers] if isinstance(layers, str) else layers)
        self.parameters = [p for part in parts for p in part.parameters(recurse=False) if p.requires_grad]
        self.norms = [name for name, part in model.named_modules() if part in parts and isinstance(part, _NORMS)]
        if unfreeze_at_epoch is None:
            self._set(frozen=True)  # now, so that the optimizer does not get them

    def _set(self, *, frozen: bool) -> None:
        self.is_frozen = frozen
        for parameter in self.parameters:
            parameter.requires_grad_(not frozen)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freeze; also in a run that goes on in the middle of an epoch."""
        finds = getattr(trainer.strategy.model, "find_unused_parameters", True)  # of torch's DistributedDataParallel
        if self.unfreeze_at_epoch is not None and not finds:
            raise InputError("unfreeze_at_epoch: DDP needs trainer.strategy=ddp_find_unused_parameters_true for it")
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        frozen = self.unfreeze_at_epoch is None or trainer.current_epoch < self.unfreeze_at_epoch
        if frozen != self.is_frozen:
            self._set(frozen=frozen)
            if not frozen:
                log.info(f"epoch {trainer.current_epoch + 1}: all layers are trained from now on")
        for name in self.norms:  # sync_batchnorm has put others in their places
            pl_module.get_submodule(name).train(not frozen)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.is_frozen and self.unfreeze_at_epoch is not None:
            log.warning(f"unfreeze_at_epoch={self.unfreeze_at_epoch}: the run ended before, frozen all the while")


def _parts(model: LightningModule, layers: Sequence[str]) -> list[nn.Module]:
    """Every module that belongs to these."""
    named = dict(model.named_modules())
    if list(layers) == ["backbone"] and isinstance(model, Classifier):
        head = head_of(model, model.num_classes)
        return [part for name, part in named.items() if name != head and not name.startswith(f"{head}.")]
    for layer in layers:
        if not layer or layer not in named:
            right = hint(layer, filter(None, named), otherwise="Give backbone, or names such as net.layer1")
            raise InputError(f"freeze={layer}: {type(model).__name__} has no such part. {right}")
    return [part for layer in layers for part in named[layer].modules()]
