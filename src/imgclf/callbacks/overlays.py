"""Curves of training and validation in one chart."""

from pytorch_lightning import Callback, LightningModule, Trainer

from imgclf.callbacks.board import writers

LAYOUT = {
    "training and validation": {
        "loss": ["Multiline", ["loss/train$", "loss/val$"]],
        "accuracy": ["Multiline", ["accuracy/train$", "accuracy/val$"]],
    },
    "learning rate": {"set and planned": ["Multiline", ["rate/lr$", "rate/planned$"]]},
}


class Overlays(Callback):
    """Lay out TensorBoard's page of custom scalars: loss, accuracy and learning rate, two curves a chart."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for writer in writers(trainer):
            writer.add_custom_scalars(LAYOUT)
