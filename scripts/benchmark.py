"""Speed side by side: ``uv run scripts/benchmark.py [ROW ...] [--rounds 3]``.

Each way in a fresh process, in turn: ``plain``, as the chapters and most tutorials do it (images one at a time through
Pillow and torchvision, float32, loss and accuracy read after every step); ``template``, Lightning as
lightning-hydra-template documents it (the same images, float32, metric objects logged at every step); ``imgclf``, this
package; ``limit``, the shortest loop over arrays in memory, in its precision and memory format. Images a second in
training, in ``evaluation`` (the second pass) and, without a network, in ``augmentation`` (plain reads its files, too;
limit augments nothing); runs of one step a minute in ``startup`` (limit imports libraries).
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path

import pytorch_lightning
import torch
from PIL import Image, ImageFilter
from pytorch_lightning.callbacks import RichProgressBar
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import Accuracy, MeanMetric
from torchvision import transforms as t
from torchvision.datasets import FakeData, ImageFolder

import imgclf
from imgclf.build import built, built_trainer
from imgclf.callbacks.monitor import Throughput

IMPORTS = "import hydra, pytorch_lightning, torchmetrics, torchvision"
GREY, COLOURED = "data=fashion_mnist", "data=image_folder data.dir={made} data.stored_size=32 data.augment=chapter"
# Overrides of scripts/train.py; epochs, the first not counted; steps an epoch, None for all; plain loader's workers.
ROWS = {
    "mlp": (f"{GREY} model=mlp", 8, None, 4),
    "lenet": (f"{GREY} model=lenet", 4, None, 4),
    "googlenet": (f"{GREY} model=googlenet data.resize=96 data.batch_size=128", 2, 20, 4),
    "resnet18": (f"{COLOURED} data.batch_size=128 data.drop_last=true model=resnet18 optimizer.momentum=0.9", 2, 12, 0),
    "evaluation": (f"{GREY} model=lenet", 4, None, 4),
    "augmentation": (f"{COLOURED} data.batch_size=128", 20, None, 0),
    "startup": (f"{GREY} model=mlp", 1, 1, 0),
}
TRAINING, WAYS = list(ROWS)[:4], ("plain", "template", "imgclf", "limit")
LACKING = {"plain": ["startup"], "template": ["lenet", "googlenet", "augmentation", "startup"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[*ROWS, "all"], default="all", help="all: each of them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000, help="made-up PNG files")
    parser.add_argument("--steps", type=int, help="an epoch of training, in place of a row's own")
    parser.add_argument("--short", action="store_true", help="a few steps of everything: to try it, not to measure")
    given = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="imgclf-") as made:
        make_pictures(Path(made), given.images)
        print("| | plain | template | imgclf | limit | times plain | times template | of the limit | rounds |")
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
        for row in ROWS if "all" in given.rows else given.rows:
            show(row, given.rounds, made, given.short, given.steps)
    print(f"\ntorch {torch.__version__}, pytorch-lightning {pytorch_lightning.__version__}; {os.cpu_count()} cores")


def show(row: str, count: int, *settings) -> None:
    """Measure so many rounds; print the medians, and the ratios of the ways of a round."""
    ways = [way for way in WAYS if row not in LACKING.get(way, [])]
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
        rounds = [{way: fresh.submit(measure, way, row, *settings).result() for way in ways} for _ in range(count)]
    medians, ratios = [], []
    for way in WAYS:
        values = [r[way] for r in rounds if way in r]
        medians.append(f"{statistics.median(values):,.{0 if min(values) >= 1000 else 1}f}" if values else "")
        times = sorted(r["imgclf"] / r[way] for r in rounds if way in r)
        ratios.append(f"{statistics.median(times):.2f} ({times[0]:.2f} to {times[-1]:.2f})" if times else "")
    print(f"| {' | '.join([row, *medians, ratios[0], ratios[1], ratios[3], str(len(rounds))])} |", flush=True)


def make_pictures(folder: Path, count: int) -> None:
    """PNG files of blurred noise, 32 x 32, about as large as photographs of that size, in class folders."""
    for number, (noise, label) in enumerate(FakeData(count, (3, 32, 32))):
        place = folder / ("valid" if number % 10 == 0 else "train") / str(label)
        place.mkdir(parents=True, exist_ok=True)
        noise.filter(ImageFilter.GaussianBlur(1)).save(place / f"{number}.png")


def measure(way: str, row: str, made: str, short: bool, more_steps: int | None) -> float:
    """One measurement, in this process, which says nothing."""
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    settings, epochs, steps, workers = ROWS[row]
    overrides = settings.format(made=made).split() + ["data.batch_size=16"] * short
    steps = (more_steps if row in TRAINING else None) or steps
    epochs, steps, begin = *((2, 2) if short else (epochs, steps)), time.perf_counter()
    if row == "startup":
        train(overrides, 1, 1) if way == "imgclf" else subprocess.run([sys.executable, "-c", IMPORTS], check=True)
        return 60 / (time.perf_counter() - begin)
    if way == "imgclf" and row in TRAINING:
        return train(overrides, epochs, steps)
    config = imgclf.compose([*overrides, "logger=none"])
    data, model = built(config, "data"), built(config, "model", optimizer=built(config, "optimizer"))
    trainer = built_trainer(config, logger=False, enable_checkpointing=False, default_root_dir=made, callbacks=[])
    if way == "imgclf" and row == "evaluation":  # whose data come to the device in the first pass
        return (1 / evaluated(trainer, model, data)) * len(data.val_set)
    data.prepare_data()
    data.setup("fit")
    if way == "template":
        return template(model, data, row, made, steps)
    if row == "evaluation":
        data.train_set, data.batch_size = data.val_set, data.eval_batch_size
    device, is_16 = trainer.strategy.root_device, "bf16" in str(trainer.precision) and way != "plain"
    is_last = way != "plain" and row != "mlp" and (is_16 or device.type == "cuda")
    layout = torch.channels_last if is_last else torch.contiguous_format
    if way == "plain":
        grey = PerImage(data.train_set, t.Resize(data.resize), t.ToTensor())
        one_by_one = pictures(made, "train") if COLOURED in settings else grey
        loader = DataLoader(one_by_one, data.batch_size, True, num_workers=workers, persistent_workers=workers > 0)
        batches, skipped = islice(loader, steps and steps + 2), min(2, len(loader) - 1)
        if row == "evaluation":  # the second pass, as of the others
            batches, skipped = chain(loader, loader), len(loader)
    else:
        count = min(len(data.train_set), (steps or sys.maxsize) * data.batch_size)
        images, labels = (part.to(device) for part in data.train_set[torch.arange(count)])
        order = [part for _ in range(epochs) for part in torch.randperm(count, device=device).split(data.batch_size)]
        skipped, ready = len(order) // epochs, data.to_input(images).contiguous(memory_format=layout)
        batches = ((ready[part], labels[part]) for part in order)
        if row == "augmentation":
            change, draws = data.augmentations[0] if way == "imgclf" else (lambda images, _: images), torch.Generator()
            batches = ((data.to_input(change(images[part], draws)), labels[part]) for part in order)
    net = model.net.train(row in TRAINING).to(device, memory_format=layout)
    return loop(batches, skipped, None if row == "augmentation" else net, model, device, is_16, way == "plain")


def train(overrides: list[str], epochs: int, steps: int | None) -> float:
    """The speed that the run's own table has, of all epochs but the first."""
    with tempfile.TemporaryDirectory() as folder:
        settings = f"trainer.max_epochs={epochs} trainer.limit_train_batches={steps or 1.0} trainer.limit_val_batches=1"
        command = [sys.executable, Path(__file__).with_name("train.py"), *overrides, *settings.split(), "test=false"]
        done = subprocess.run([*command, f"hydra.run.dir={folder}/run"], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        with Path(folder, "run", "metrics.csv").open(newline="") as table:
            return statistics.mean(float(row["images_per_second"]) for row in [*csv.DictReader(table)][epochs > 1 :])


def evaluated(trainer, model, data) -> float:
    """Seconds of the second validation."""
    trainer.validate(model, data, verbose=False)
    begin = now()
    trainer.validate(model, data, verbose=False)
    return now() - begin


def now() -> float:
    """Seconds, once the device has done what it was given."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()


def loop(batches, skipped, net, model, device, is_16, reads) -> float:
    """Images a second of a hand-written loop, but for the first batches, in which libraries set up."""
    total, correct, optimizer = 0.0, 0.0, net and model.make_optimizer(net.parameters())
    batches = iter(batches)
    for stretch in (islice(batches, skipped), batches):
        count, begin = 0, now()
        for batch in stretch:
            images, labels = (part.to(device) for part in batch)
            count += len(labels)
            if net is None:
                continue
            with torch.autocast(device.type, torch.bfloat16, enabled=is_16), torch.set_grad_enabled(net.training):
                loss = torch.nn.functional.cross_entropy(logits := net(images), labels)
            if net.training:
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
            if reads:
                total, correct = total + float(loss), correct + float((logits.argmax(dim=1) == labels).sum())
    return count / (now() - begin)


def pictures(made: str, part: str) -> ImageFolder:
    """As the chapter on Kaggle's competition reads and changes them."""
    crop = [t.Resize(40), t.RandomResizedCrop(32, scale=(0.64, 1.0), ratio=(1.0, 1.0)), t.RandomHorizontalFlip()]
    as_input = [t.ToTensor(), t.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))]
    return ImageFolder(f"{made}/{part}", t.Compose(crop + as_input if part == "train" else as_input))


class PerImage(TensorDataset):
    """Grey images in memory, one at a time through Pillow and torchvision."""

    def __init__(self, images, *steps) -> None:
        super().__init__(*images[torch.arange(len(images))])
        self.transform = t.Compose(steps)

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return self.transform(Image.fromarray(image[0].numpy())), int(label)


class Module(pytorch_lightning.LightningModule):
    """A network with the metric objects that lightning-hydra-template's documentation asks for."""

    def __init__(self, model) -> None:
        super().__init__()
        self.net, self.make_optimizer = model.net, model.make_optimizer
        self.train_loss, self.val_loss = MeanMetric(), MeanMetric()
        self.train_acc, self.val_acc = (Accuracy(task="multiclass", num_classes=model.num_classes) for _ in range(2))

    def training_step(self, batch, batch_idx, stage="train"):
        images, labels = batch
        logits = self.net(images)
        loss = torch.nn.functional.cross_entropy(logits, labels)
        mean, accuracy = getattr(self, f"{stage}_loss"), getattr(self, f"{stage}_acc")
        mean(loss)
        accuracy(logits.argmax(dim=1), labels)
        self.log(f"{stage}/loss", mean, on_step=False, on_epoch=True, prog_bar=True)
        self.log(f"{stage}/acc", accuracy, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.training_step(batch, batch_idx, "val")

    def configure_optimizers(self):
        return self.make_optimizer(self.parameters())


def template(model, data, row, made, steps) -> float:
    """The second epoch of Lightning's loop, or its second validation, with its bar, and without an end of an epoch."""
    train, val = (PerImage(p, t.ToTensor(), t.Normalize(data.mean, data.std)) for p in (data.train_set, data.val_set))
    if row == "resnet18":
        train, val = pictures(made, "train"), pictures(made, "valid")
    own = {"logger": False, "enable_checkpointing": False, "callbacks": [RichProgressBar(), Throughput()]}
    trainer = pytorch_lightning.Trainer(max_epochs=2, limit_train_batches=steps or 1.0, devices=1, **own)
    module, loader = Module(model), DataLoader(val, data.eval_batch_size)
    if row == "evaluation":
        return len(val) / evaluated(trainer, module, loader)
    trainer.fit(module, DataLoader(train, data.batch_size, shuffle=True), loader)
    return float(trainer.callback_metrics["images_per_second"])


if __name__ == "__main__":
    main()
