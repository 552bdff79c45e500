"""How others train, for scripts/benchmark.py: ``plain`` as most tutorials, ``template`` as a well-known template."""

import time
from itertools import islice
from pathlib import Path

import torch
from PIL import Image
from pytorch_lightning import Callback, LightningModule, Trainer, callbacks
from pytorch_lightning.loggers import CSVLogger
from torch.utils.data import DataLoader, Dataset
from torchmetrics import Accuracy, MaxMetric, MeanMetric
from torchvision import datasets
from torchvision import transforms as t

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def chapter(augments: bool) -> t.Compose:
    crop = [t.Resize(40), t.RandomResizedCrop(32, scale=(0.64, 1.0), ratio=(1.0, 1.0)), t.RandomHorizontalFlip()]
    return t.Compose([*(crop if augments else []), t.ToTensor(), t.Normalize(MEAN, STD)])


class PerImage(Dataset):
    """Grey images in memory, one at a time through Pillow and torchvision."""

    def __init__(self, images, *steps) -> None:
        stored, self.labels = images[torch.arange(len(images))]
        self.images, self.transform = stored[:, 0].numpy(), t.Compose(steps)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def plain(model, data, config, row, made, steps, workers, device) -> float:
    """One epoch of the chapters' loop."""
    if row == "resnet18":
        images = datasets.ImageFolder(f"{made}/train", chapter(True))
    else:
        images = PerImage(data.train_set, t.Resize(data.resize), t.ToTensor())
    loader = DataLoader(images, data.batch_size, shuffle=True, num_workers=workers)
    net, o, losses = model.net.to(device).train(), config.optimizer, torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), o.lr, momentum=o.momentum, weight_decay=o.weight_decay)
    batches = islice(loader, steps + 2) if steps else loader
    count, total, correct, begin = 0, 0.0, 0.0, time.perf_counter()
    for number, batch in enumerate(batches):
        if steps and number == 2:  # a short stretch should not pay for the first steps
            count, begin = 0, time.perf_counter()
        x, y = (part.to(device) for part in batch)
        logits = net(x)
        optimizer.zero_grad()
        loss = losses(logits, y)
        loss.backward()
        optimizer.step()
        total += float(loss)
        correct += float((logits.argmax(dim=1) == y).sum())
        count += len(y)
    return count / (time.perf_counter() - begin)


class Module(LightningModule):
    """A network with the metric objects that lightning-hydra-template's documentation asks for."""

    def __init__(self, model) -> None:
        super().__init__()
        self.net, self.criterion, self.make_optimizer = model.net, torch.nn.CrossEntropyLoss(), model.make_optimizer
        self.train_loss, self.val_loss, self.val_acc_best = MeanMetric(), MeanMetric(), MaxMetric()
        self.train_acc, self.val_acc = (Accuracy(task="multiclass", num_classes=model.num_classes) for _ in range(2))

    def step(self, batch, stage, mean, accuracy):
        images, labels = batch
        logits = self.net(images)
        loss = self.criterion(logits, labels)
        mean(loss)
        accuracy(logits.argmax(dim=1), labels)
        self.log(f"{stage}/loss", mean, on_step=False, on_epoch=True, prog_bar=True)
        self.log(f"{stage}/acc", accuracy, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def training_step(self, batch, batch_idx):
        return self.step(batch, "train", self.train_loss, self.train_acc)

    def validation_step(self, batch, batch_idx):
        self.step(batch, "val", self.val_loss, self.val_acc)

    def on_validation_epoch_end(self):
        self.val_acc_best(self.val_acc.compute())
        self.log("val/acc_best", self.val_acc_best.compute(), sync_dist=True, prog_bar=True)

    def configure_optimizers(self):
        return self.make_optimizer(self.parameters())


class Clock(Callback):
    """Images/s of the epoch in progress, until its validation; unlike the run's own figure with its first batch."""

    def on_train_epoch_start(self, *_):
        self.count, self.begin = 0, time.perf_counter()

    def on_train_batch_end(self, trainer, module, outputs, batch, *_):
        self.count += len(batch[1])

    def on_validation_start(self, trainer, module):
        if not trainer.sanity_checking:
            if module.device.type == "cuda":
                torch.cuda.synchronize(module.device)
            self.images_per_second = self.count / (time.perf_counter() - self.begin)


def template(model, data, row, made, steps) -> float:
    """The second epoch of Lightning's loop with what that template has it do by default, its bar and files included."""
    if row == "resnet18":
        train, val = (datasets.ImageFolder(f"{made}/{part}", chapter(part == "train")) for part in ("train", "valid"))
    else:
        as_there = (t.ToTensor(), t.Normalize(data.mean, data.std))
        train, val = PerImage(data.train_set, *as_there), PerImage(data.val_set, *as_there)
    settings = {"batch_size": data.batch_size, "num_workers": 0, "pin_memory": False}
    folder, clock, best = Path(made, "template"), Clock(), {"monitor": "val/acc", "mode": "max"}
    named = {"filename": "epoch_{epoch:03d}", "save_last": True, "auto_insert_metric_name": False}
    parts = [
        *(callbacks.ModelCheckpoint(folder / "checkpoints", **best, **named), callbacks.RichModelSummary(max_depth=-1)),
        *(callbacks.EarlyStopping(**best, patience=100), callbacks.RichProgressBar(), clock),
    ]
    limits = {"max_epochs": 2, "limit_train_batches": steps or 1.0, "limit_val_batches": 1}  # as in all other ways
    trainer = Trainer(**limits, devices=1, callbacks=parts, logger=CSVLogger(folder), default_root_dir=folder)
    trainer.fit(Module(model), DataLoader(train, shuffle=True, **settings), DataLoader(val, **settings))
    return clock.images_per_second
