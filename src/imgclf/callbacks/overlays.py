"""Curves of training and validation in one chart."""

from pytorch_lightning import Callback, LightningModule, Trainer

from imgclf.callbacks.board import writers

LAYOUT = {
    "training and validation": {
        "loss": ["Multiline", ["train/loss$", "val/loss$"]],
        "accuracy": ["Multiline", ["train/acc$", "val/acc$"]],
    },
    "learning rate": {"set and planned": ["Multiline", ["lr$", "lr/planned$"]]},
}


class Overlays(Callback):
    """Lay out TensorBoard's page of custom scalars: loss, accuracy and learning rate, two curves a chart."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for writer in writers(trainer):
            writer.add_custom_scalars(LAYOUT)
