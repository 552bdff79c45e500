"""The LightningModule that every network of this package is: loss, accuracy, optimizer.

Legend of shapes: n images of a batch, c channels, h = w = image_size pixels, k classes.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, cast

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.optim import Optimizer
from torchmetrics import MetricCollection

from imgclf.errors import InputError
from imgclf.models.losses import CrossEntropy
from imgclf.models.misfit import refuse_misfit
from imgclf.models.totals import Totals
from imgclf.ranges import AtLeast1, FractionBelow1

OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
Batch = tuple[Tensor, Tensor]
_PLAIN = (bool, int, float, str, list, tuple, dict, type(None))


class Classifier(LightningModule):
    """Trains any ``net`` that maps images (n, c, h, w) to logits (n, k) with cross-entropy.

    Networks of this package are subclasses whose arguments are their architecture; a module from elsewhere is handed
    over as ``net``. Only plain values become hyperparameters, so ``SubclassName.load_from_checkpoint(path)`` needs
    nothing else and runs no pickle; ``Classifier`` itself needs ``net=`` again.

    Args:
        net: the network.
        in_channels: c of the images.
        image_size: height and width of the images in pixels.
        num_classes: k.
        label_smoothing: share of the target taken from the true class and spread over all classes, in [0, 1)
            (Szegedy et al. 2016, section 7). Validation and test report the plain cross-entropy.
        channels_last: keep images and convolution weights in memory as (n, h, w, c), which convolutions in 16 bits
            or on a GPU are faster with; the numbers differ by rounding only. ``auto`` does so just there.
        average_flips: validate and test by the mean of each image's and its mirror image's probabilities.
        compile: translate the network with ``torch.compile`` first: faster on a GPU after a while; or how, as torch's
            ``mode``: ``reduce-overhead`` takes CUDA graphs.
        metrics: of torchmetrics, by the names under which validation and test log them besides loss and accuracy; each
            is given probabilities (n, k) and labels (n,). One that gives a value a class is logged a class each.
        loss: of training, from logits (n, k) and labels int64 (n,) or, mixed, float (n, k); None for cross-entropy. One
            that has a method ``prepare`` is given the training images' labels and k first.
        optimizer: makes the optimizer from the parameters. Not needed for evaluation.

    Raises InputError: ``net`` cannot take such images or does not give k logits.
    """

    metric_names: tuple[str, ...] = ("loss", "acc")  # logged for train, val and test, as train/loss

    def __init__(
        self,
        net: nn.Module,
        *,
        in_channels: AtLeast1,
        image_size: AtLeast1,
        num_classes: AtLeast1,
        label_smoothing: FractionBelow1 = 0.0,
        channels_last: bool | Literal["auto"] = "auto",
        average_flips: bool = False,
        compile: bool | Literal["reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"] = False,
        metrics: Mapping[str, Any] | None = None,
        loss: nn.Module | None = None,
        optimizer: OptimizerFactory | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["net", "loss", "optimizer", "metrics"], logger=False)
        # Of modules and the like a checkpoint could not be read without pickle.
        for name in [name for name, value in self.hparams.items() if not isinstance(value, _PLAIN)]:
            del self.hparams[name]
        self.net, self.num_classes, self.label_smoothing = net, num_classes, label_smoothing
        self.channels_last, self.to_compile, self.make_optimizer = channels_last, compile, optimizer
        self.loss = nn.CrossEntropyLoss(label_smoothing=label_smoothing) if loss is None else loss
        if label_smoothing > getattr(self.loss, "label_smoothing", 0.0):
            raise InputError(f"model.label_smoothing={label_smoothing}: {type(loss).__name__} has none; leave it out")
        weights = self.loss.class_weights if isinstance(self.loss, CrossEntropy) else None
        if weights is not None and weights != "balanced" and len(weights) != num_classes:
            raise InputError(f"loss.class_weights={list(weights)}: there are {num_classes} classes: give one each")
        self.memory_format = torch.contiguous_format
        self.average_flips = average_flips
        self.totals = {stage: Totals() for stage in ("train", "val", "test")}  # running loss and accuracy
        more = {name: metric for name, metric in (metrics or {}).items() if metric is not None}
        if taken := {*type(self).metric_names} & {*more}:
            raise InputError(f"model.metrics.{min(taken)}: this is measured in any case; give it another name")
        # Groups that share their sums are found by a first batch: top-5 would be taken for accuracy where all is right.
        alike = MetricCollection(dict(more), compute_groups=False)
        _require_multiclass(alike, num_classes)
        self.more = nn.ModuleDict({f"{s}_more": alike.clone(prefix=f"{s}/") for s in ("val", "test")})
        self.metric_names = (*type(self).metric_names, *more)
        self.input_shape = (1, in_channels, image_size, image_size)
        self.example_input_array = torch.zeros(self.input_shape)  # with which TensorBoard can draw the graph
        self.network_name = type(net if type(self) is Classifier else self).__name__
        refuse_misfit(net, self.network_name, self.example_input_array, num_classes)

    def setup(self, stage: str) -> None:
        """Choose the memory format, which depends on where and how the network is going to run."""
        wanted = self.channels_last
        if wanted == "auto":
            fast = "16" in str(self.trainer.precision) or self.trainer.strategy.root_device.type == "cuda"
            wanted = fast and any(isinstance(module, nn.Conv2d) for module in self.net.modules())
        self.memory_format = torch.channels_last if wanted else torch.contiguous_format
        self.net.to(memory_format=self.memory_format)
        is_cuda = self.trainer.strategy.root_device.type == "cuda"
        has_graphs = self.to_compile in ("reduce-overhead", "max-autotune") and stage == "fit"
        if has_graphs and self.trainer.accumulate_grad_batches > 1 and is_cuda:
            raise InputError(f"model.compile={self.to_compile}: CUDA graphs cannot accumulate gradients; give true")
        if self.to_compile:
            self.net.compile(mode=None if self.to_compile is True else self.to_compile)
            self.to_compile = False  # once for all stages

    def on_fit_start(self) -> None:
        if hasattr(self.loss, "prepare"):
            images = self.trainer.datamodule.train_set  # type: ignore[attr-defined]
            labels = images.labels if images.chosen is None else images.labels[images.chosen]
            self.loss.prepare(labels.to(self.device), self.num_classes)  # type: ignore[operator]

    def forward(self, images: Tensor) -> Tensor:
        """Float32 images (n, c, h, w), normalised as the data module's ``to_input`` makes them of pixels, to logits."""
        return self.net(images.contiguous(memory_format=self.memory_format))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean loss of a batch: images float32 (n, c, h, w), labels int64 (n,) or, mixed, float (n, k)."""
        images, labels = batch
        logits = self(images)
        if not isinstance(logits, Tensor):  # some networks have further outputs, in training alone
            told = f"{self.network_name} gives a {type(logits).__name__} in training"
            raise InputError(f"{told}: switch its other outputs off, so that it gives logits alone")
        loss: Tensor = self.loss(_exact(logits), labels)
        self.totals["train"].update(loss.detach(), logits.detach(), labels)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Count one batch towards ``val/loss`` and ``val/acc``; gives its logits (n, k) to callbacks."""
        return self._evaluate("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Count one batch towards ``test/loss`` and ``test/acc``."""
        self._evaluate("test", batch)

    def predict_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Class probabilities, float32 (n, k); with ``average_flips`` the mean over each image and its mirror image."""
        images = batch[0]
        probabilities = self(images).float().softmax(dim=1)
        if not self.average_flips:
            return probabilities
        return (probabilities + self(images.flip(3)).float().softmax(dim=1)) / 2

    def _evaluate(self, stage: str, batch: Batch) -> Tensor:
        images, labels = batch
        logits = self(images) if not self.average_flips else self.predict_step(batch, 0).clamp(min=1e-30).log()
        self.totals[stage].update(F.cross_entropy(_exact(logits), labels), logits, labels)
        if more := self.more_metrics(stage):
            more.update(logits.float().softmax(dim=1), labels)
        return logits

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        # The epoch's figures are known with its last batch; publishing them here rather than at the epoch's end
        # lets every callback read them there, whatever its place in the list.
        if self.trainer.is_last_batch:
            self.publish_train()

    def on_train_epoch_end(self) -> None:
        self.publish_train()

    def publish_train(self) -> None:
        """Log the training figures of the epoch, unless they are; to be called where it ends."""
        if self.totals["train"].update_called:
            self._publish("train")

    def on_validation_epoch_end(self) -> None:
        self._publish("val")

    def on_test_epoch_end(self) -> None:
        self._publish("test")

    def _publish(self, stage: str) -> None:
        totals = self.totals[stage]
        values = {f"{stage}/{name}": value.to(self.device) for name, value in totals.compute().items()}
        totals.reset()
        if stage != "train" and (more := self.more_metrics(stage)):
            names = getattr(getattr(self.trainer, "datamodule", None), "class_names", range(self.num_classes))
            for name, value in more.compute().items():
                if (shape := getattr(value, "shape", None)) not in ((), (self.num_classes,)):
                    told = f"it gives {'no tensor' if shape is None else f'values {tuple(shape)}'}"
                    raise InputError(f"model.metrics.{name.partition('/')[2]}: {told}; expected one, or one a class")
                each = {f"{name}/{n}": v for n, v in zip(names, value, strict=True)} if shape else {name: value}
                values |= {name: v for name, v in each.items() if not (shape and v.isnan())}  # a class without images
            more.reset()
        # The values are already those of all processes; sync_dist keeps Lightning from warning that they are not.
        self.log_dict(values, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)

    def more_metrics(self, stage: str) -> MetricCollection:
        """The metrics besides loss and accuracy of ``val`` or ``test``."""
        return cast(MetricCollection, self.more[f"{stage}_more"])

    def configure_optimizers(self) -> Optimizer:
        if self.make_optimizer is None:
            raise InputError(f"{type(self).__name__} was built without an optimizer: pass optimizer=... to train it")
        optimizer = self.make_optimizer(p for p in self.parameters() if p.requires_grad)
        is_mixed = "mixed" in str(self.trainer.precision)
        if optimizer.defaults.get("fused") and self.trainer.gradient_clip_val and is_mixed:
            raise InputError("optimizer.fused=true: Lightning cannot clip with it; leave trainer.gradient_clip_val out")
        if getattr(optimizer, "num_images", 0) is None:
            # Its noise depends on how many images the loss is the mean of, which only the run knows.
            optimizer.num_images = len(self.trainer.datamodule.train_set)  # type: ignore[attr-defined]
        return optimizer

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Without the sums so far, the loss of an epoch resumed in its middle would cover its second half only.
        checkpoint["train_totals"] = self.totals["train"].snapshot()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = self.state_dict().keys()
        # Where weights are averaged, their own state lies in the latter.
        for weights in (checkpoint["state_dict"], checkpoint.get("current_model_state", {})):
            for name in [name for name in weights if name.startswith("loss.") and name not in own]:
                del weights[name]  # which its method prepare makes again
        if self._trainer is None:  # by load_from_checkpoint; private, since `trainer` raises where there is none
            warnings.warn("this network takes normalised images: imgclf.load(RUN) has the preprocessing", stacklevel=2)
        elif (sums := checkpoint.get("train_totals")) is not None:
            self.totals["train"].restore(sums, self.global_rank, self.trainer.world_size)


def _require_multiclass(metrics: MetricCollection, num_classes: int) -> None:
    """Refuse metrics that cannot take what they are going to get, before an epoch has been spent."""
    labels = torch.tensor([0, num_classes - 1]).repeat(32)
    if labels.is_meta:  # where networks are drawn
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            metrics.clone()(torch.full((64, num_classes), 1 / num_classes), labels)
    except Exception as error:
        told = f"they get probabilities (n, {num_classes}) and labels (n,): choose multiclass ones for so many"
        raise InputError(f"model.metrics: {str(error).partition(chr(10))[0]}; {told}") from error


def _exact(logits: Tensor) -> Tensor:
    """In 32 bits where they have 16, so that the loss is told to more than three digits."""
    return logits.float() if logits.dtype.itemsize == 2 else logits
