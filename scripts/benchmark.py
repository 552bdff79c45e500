"""Speed side by side: ``uv run scripts/benchmark.py [ROW ...] [--rounds 3] [--busy 2]``.

Each way in a fresh process, in turn: ``plain``, as the chapters and most tutorials do it (images one at a time through
Pillow and torchvision, float32, loss and accuracy read after every step); ``template``, Lightning as
lightning-hydra-template documents it (the same images, float32, metric objects logged at every step; mlp, resnet18);
``imgclf``, its own scripts; ``limit``, the shortest loop over arrays in memory, in its precision and memory format.
"""

import argparse
import contextlib
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Overrides of scripts/train.py; epochs, the first not counted; steps an epoch, None for all; plain loader's workers.
TRAINING = {
    "mlp": ("data=fashion_mnist model=mlp", 8, None, 4),
    "lenet": ("data=fashion_mnist model=lenet", 4, None, 4),
    "googlenet": ("data=fashion_mnist model=googlenet data.resize=96 data.batch_size=128", 2, 20, 4),
    "resnet18": (
        "data=image_folder data.dir={made} data.stored_size=32 data.augment=chapter data.batch_size=128 "
        "data.drop_last=true model=resnet18 optimizer.momentum=0.9 optimizer.weight_decay=5e-4",
        *(2, 12, 0),
    ),
}
WAYS, TEMPLATE = ("plain", "template", "imgclf", "limit"), ("mlp", "resnet18")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", choices=[*TRAINING, "all"], default="all", help="all: each of them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000, help="made-up PNG files")
    parser.add_argument("--steps", type=int, help="an epoch, in place of a row's own")
    parser.add_argument("--busy", type=int, default=0, help="processes that want a core each all the while")
    parser.add_argument("--short", action="store_true", help="a few steps of everything: to try it, not to measure")
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "ROW", "MADE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(*given.measure, given.short, given.steps)))
        return
    with tempfile.TemporaryDirectory(prefix="imgclf-") as made, contextlib.ExitStack() as at_end:
        make_pictures(Path(made), given.images)
        for _ in range(given.busy):
            at_end.callback(subprocess.Popen([sys.executable, "-c", "while True: pass"]).kill)
        print("| | plain | template | imgclf | limit | times plain | times template | of the limit | rounds |")
        print("|---|---|---|---|---|---|---|---|---|")
        options = [*["--short"] * given.short, *([f"--steps={given.steps}"] if given.steps else [])]
        for row in TRAINING if "all" in given.rows else given.rows:
            show(row, [in_turn(row, made, options) for _ in range(given.rounds)])
    info = Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else f"model name: {platform.machine()}"
    cpu = info.partition("model name")[2].partition("\n")[0].strip("\t :")
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "pytorch-lightning"))
    print(f"\n{versions}; {os.cpu_count()} x {cpu}; beside {given.busy} busy processes")


def in_turn(row: str, made: str, options: list[str]) -> dict[str, float]:
    """Images per second of each way that a row has."""
    found = {}
    for way in WAYS if row in TEMPLATE else [way for way in WAYS if way != "template"]:
        command = [sys.executable, __file__, "--measure", way, row, made, *options]
        users = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(command, env=users, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr[-3000:]}")
        found[way] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(row: str, rounds: list[dict[str, float]]) -> None:
    medians, ratios = [], []
    for way in WAYS:
        values = [r[way] for r in rounds if way in r]
        medians.append(f"{statistics.median(values):,.{0 if min(values) >= 1000 else 1}f}" if values else "")
        times = sorted(r["imgclf"] / r[way] for r in rounds if way in r)
        ratios.append(f"{statistics.median(times):.2f} ({times[0]:.2f} to {times[-1]:.2f})" if times else "")
    print(f"| {' | '.join([row, *medians, ratios[0], ratios[1], ratios[3], str(len(rounds))])} |", flush=True)


def make_pictures(folder: Path, count: int) -> None:
    """PNG files of blurred noise, 32 x 32, about as large as photographs of that size, in class folders."""
    import numpy as np
    from PIL import Image, ImageFilter

    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / ("valid" if number % 10 == 0 else "train") / str(number // 10 % 10)
        place.mkdir(parents=True, exist_ok=True)
        noise = Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8))
        noise.filter(ImageFilter.GaussianBlur(1)).save(place / f"{number}.png")


def measure(way: str, row: str, made: str, short: bool, more_steps: int | None) -> float:
    """One measurement, in this process."""
    settings, epochs, steps, workers = TRAINING[row]
    overrides = settings.format(made=made).split() + ["data.batch_size=16"] * short
    epochs, steps = (2, 2) if short else (epochs, more_steps or steps)
    if way == "imgclf":
        return product_training(overrides, epochs, steps)
    import benchmark_loops

    import imgclf
    from imgclf.build import built, built_trainer

    config = imgclf.compose([*overrides, "logger=none"])
    data, model = built(config, "data"), built(config, "model", optimizer=built(config, "optimizer"))
    trainer = built_trainer(config, logger=False, enable_checkpointing=False, default_root_dir=made, callbacks=[])
    data.prepare_data()
    data.setup("fit")
    device = trainer.strategy.root_device
    if way == "limit":
        is_16 = "bf16" in str(trainer.precision)
        return limit(model, data, epochs, steps, device, is_16, is_16 and row != "mlp")
    if way == "template":
        return benchmark_loops.template(model, data, row, made, steps)
    return benchmark_loops.plain(model, data, config, row, made, steps, workers, device)


def product_training(overrides: list[str], epochs: int, steps: int | None) -> float:
    """The speed that the run's own table has, of all epochs but the first."""
    with tempfile.TemporaryDirectory() as folder:
        settings = f"trainer.max_epochs={epochs} test=false trainer.limit_val_batches=1 hydra.run.dir={folder}/run"
        command = [sys.executable, HERE / "train.py", *overrides, *settings.split()]
        command += [f"trainer.limit_train_batches={steps}"] if steps else []
        subprocess.run(command, check=True, stdout=sys.stderr)
        with Path(folder, "run", "metrics.csv").open(newline="") as table:
            return statistics.mean(float(row["images_per_second"]) for row in list(csv.DictReader(table))[1:])


def limit(model, data, epochs, steps, device, bfloat16, channels_last) -> float:
    """The shortest hand-written training loop over float32 images in memory."""
    import torch

    count = min(len(data.train_set), (steps or sys.maxsize) * data.batch_size)
    images, labels = (part.to(device) for part in data.train_set[torch.arange(count)])
    images, net = data.to_input(images), model.net.to(device).train()
    if channels_last:
        net.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer = model.make_optimizer(net.parameters())
    for epoch in range(epochs):
        if epoch == 1:  # the first, in which libraries set up, is not counted
            if device.type != "cpu":
                torch.accelerator.synchronize()
            begin = time.perf_counter()
        for chosen in torch.split(torch.randperm(count, device=device), data.batch_size):
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                loss = torch.nn.functional.cross_entropy(net(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    if device.type != "cpu":
        torch.accelerator.synchronize()
    return count * (epochs - 1) / (time.perf_counter() - begin)


if __name__ == "__main__":
    main()
