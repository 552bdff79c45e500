"""One measurement in a process of its own: ``python -m imgclf.benchmark.child NAME JSON`` prints its result as JSON."""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from imgclf.benchmark import limit, plain
from imgclf.build import built
from imgclf.data.module import ImageData
from imgclf.distributed import cores
from imgclf.run_folder import RunFolder
from imgclf.trust import run_config

Result = dict[str, Any]


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _repeated(once: Callable[[], int], least_seconds: float) -> Result:
    """Seconds of each of the passes through so many images that fill the time; of one at least."""
    seconds: list[float] = []
    while not seconds or sum(seconds) < least_seconds:
        begin = time.perf_counter()
        images = once()
        seconds.append(time.perf_counter() - begin)
    return {"seconds": seconds, "images": images}


def _configured(run: str) -> tuple[Any, ImageData]:
    """The configuration of a run that the product has just done, and its data, read."""
    config = run_config(RunFolder.existing(run), ["imgclf.benchmark."])
    data: ImageData = built(config, "data")
    data.prepare_data()
    data.setup("fit")
    return config, data


def limit_train(run: str, epochs: int, batches: int | None, bfloat16: bool, channels_last: bool) -> Result:
    """Seconds of each epoch of the shortest loop, with the run's own network, optimizer and images."""
    config, data = _configured(run)
    model = built(config, "model", optimizer=built(config, "optimizer"))
    count = len(data.train_set) if batches is None else batches * data.batch_size
    images, labels = data.train_set[torch.arange(count)]
    net = model.net.to(_device()).train()
    inputs, labels = data.to_input(images.to(_device())), labels.to(_device())
    optimizer = model.make_optimizer(net.parameters())
    seconds = limit.train(
        net,
        optimizer,
        inputs,
        labels,
        batch_size=data.batch_size,
        epochs=epochs,
        bfloat16=bfloat16,
        channels_last=channels_last,
    )
    return {"seconds": seconds, "images": count // data.batch_size * data.batch_size}


def plain_train(run: str, batches: int | None, workers: int, tree: str | None) -> Result:
    """Seconds of an epoch of the chapters' loop in float32, with the run's own network."""
    config, data = _configured(run)
    loader = _plain_loader(data, workers, tree)
    net = built(config, "model").net
    sgd = {name: config.optimizer[name] for name in ("momentum", "weight_decay")}
    count = 0

    def counted() -> Iterator[Any]:
        nonlocal count
        for images, labels in islice(loader, batches):
            count += len(labels)
            yield images, labels

    if batches is not None:  # a short stretch should not pay for the first steps, in which libraries set up
        plain.train(net, islice(loader, 2), config.optimizer.lr, _device(), **sgd)
    seconds = plain.train(net, counted(), config.optimizer.lr, _device(), **sgd)
    return {"seconds": [seconds], "images": count}


def _plain_loader(data: ImageData, workers: int, tree: str | None) -> Any:
    if tree is not None:
        return plain.cifar_loader(Path(tree) / "train", data.batch_size, train=True, workers=workers)
    images, labels = data.train_set[torch.arange(len(data.train_set))]
    size = images.shape[-1]
    resize = None if data.resize == size else data.resize
    return plain.fashion_loader(images[:, 0].numpy(), labels.numpy(), resize, data.batch_size, workers)


def plain_classification(run: str, folder: str) -> Result:
    """Seconds in which the chapter's loop classifies a folder of class folders, in batches of 128."""
    net = built(run_config(RunFolder.existing(run), ["imgclf.benchmark."]), "model").net
    loader = plain.cifar_loader(Path(folder), 128, train=False)
    return {"seconds": [plain.evaluate(net, loader, _device())], "images": len(loader.dataset)}  # type: ignore[arg-type]


def plain_loading(run: str, workers: int, tree: str | None = None) -> Result:
    """Seconds of one pass through the chapters' loader."""
    _, data = _configured(run)
    loader = _plain_loader(data, workers, tree)
    begin = time.perf_counter()
    count = sum(len(labels) for _, labels in loader)
    return {"seconds": [time.perf_counter() - begin], "images": count}


def product_loading(run: str, augment: bool, least_seconds: float) -> Result:
    """Seconds of passes through the product's loader and its way to the network's input."""
    _, data = _configured(run)
    generator = torch.Generator().manual_seed(0)

    def once() -> int:
        count = 0
        for images, labels in data.train_dataloader():
            images = data.augmentation(images, generator) if augment else images
            data.to_input(images)
            count += len(labels)
        return count

    once()
    return _repeated(once, least_seconds)


def plain_augmentation(tree: str, images: int) -> Result:
    """Seconds of the chapter's transforms alone, on images that Pillow has decoded, in one process a core."""
    files = sorted((Path(tree) / "train").rglob("*.png"))[:images]
    workers = cores()
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(_transformed, [files[:2]] * workers))  # the processes are there and have imported what they need
        spans = list(pool.map(_transformed, [files[i::workers] for i in range(workers)]))
    return {"seconds": [max(spans)], "images": len(files)}


def _transformed(files: list[Path]) -> float:
    torch.set_num_threads(1)
    from PIL import Image

    images = [Image.open(file).convert("RGB") for file in files]
    transform = plain.cifar_transform(train=True)
    begin = time.perf_counter()
    for image in images:
        transform(image)
    return time.perf_counter() - begin


def bare_decoding(folder: str, least_seconds: float) -> Result:
    """Seconds in which two processes open all PNG files of a folder with Pillow and do nothing else."""
    files = sorted(str(file) for file in Path(folder).iterdir())
    workers = cores()

    def once() -> int:
        with ProcessPoolExecutor(workers) as pool:
            list(pool.map(_decoded, [files[i::workers] for i in range(workers)]))
        return len(files)

    return _repeated(once, least_seconds)


def _decoded(files: list[str]) -> int:
    from PIL import Image

    return sum(len(Image.open(file).tobytes()) for file in files)


def product_decoding(folder: str, least_seconds: float) -> Result:
    """Seconds in which the product decodes all PNG files of a folder into an array on disk, checking each."""
    from imgclf.images.png_folder import decode_png_folder

    ids = np.asarray(sorted(int(file.stem) for file in Path(folder).iterdir()))
    with tempfile.TemporaryDirectory(dir=Path(folder).parent) as target:
        file = Path(target) / "images.npy"

        def once() -> int:
            file.unlink(missing_ok=True)
            decode_png_folder(Path(folder), ids, file, size=32, workers=None)
            return len(ids)

        return _repeated(once, least_seconds)


MEASUREMENTS: dict[str, Callable[..., Result]] = {
    function.__name__: function
    for function in (
        limit_train,
        plain_train,
        plain_classification,
        plain_loading,
        product_loading,
        plain_augmentation,
        bare_decoding,
        product_decoding,
    )
}

if __name__ == "__main__":
    torch.manual_seed(0)
    print(json.dumps(MEASUREMENTS[sys.argv[1]](**json.loads(sys.argv[2]))))
