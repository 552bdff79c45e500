"""The plain way, as the chapters and most tutorials do it: image files, per-image transforms, a loop in float32."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

Batches = Iterable[tuple[Tensor, Tensor]]


class PerImage(Dataset[Any]):
    """Grey images one at a time, each through Pillow and torchvision's transforms, as ``datasets.FashionMNIST`` does.

    Args:
        images: uint8 (n, h, w).
        labels: int64 (n,).
        resize: side in pixels, or None to leave the size.
    """

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64], resize: int | None) -> None:
        self.images = images
        self.labels = labels.tolist()
        steps: list[Any] = [] if resize is None else [transforms.Resize(resize)]
        self.transform = transforms.Compose([*steps, transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


def fashion_loader(
    images: NDArray[np.uint8], labels: NDArray[np.int64], resize: int | None, batch_size: int, workers: int
) -> DataLoader[tuple[Tensor, Tensor]]:
    """The chapter's loader for Fashion-MNIST; it uses 4 workers."""
    return DataLoader(PerImage(images, labels, resize), batch_size, shuffle=True, num_workers=workers)


MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def cifar_transform(*, train: bool) -> Any:
    """The competition chapter's transforms for one image."""
    augment = [
        transforms.Resize(40),
        transforms.RandomResizedCrop(32, scale=(0.64, 1.0), ratio=(1.0, 1.0)),
        transforms.RandomHorizontalFlip(),
    ]
    return transforms.Compose([*(augment if train else []), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])


def cifar_loader(folder: Path, batch_size: int, *, train: bool, workers: int = 0) -> DataLoader[tuple[Tensor, Tensor]]:
    """The chapter's loader for a folder of PNG files in one folder a class; it uses no workers."""
    images = ImageFolder(str(folder), transform=cifar_transform(train=train))
    return DataLoader(images, batch_size, shuffle=train, drop_last=train, num_workers=workers)


def train(net: nn.Module, batches: Batches, lr: float, device: torch.device, **sgd: float) -> float:
    """One epoch of the chapter's loop, which adds up loss and accuracy after every batch.

    Returns:
        Seconds.
    """
    net.to(device).train()
    optimizer = torch.optim.SGD(net.parameters(), lr, **sgd)  # type: ignore[arg-type]
    loss_function = nn.CrossEntropyLoss(reduction="none")
    loss_sum = correct = count = 0.0
    begin = time.perf_counter()
    for images, labels in batches:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        logits = net(images)
        loss = loss_function(logits, labels)
        loss.mean().backward()
        optimizer.step()
        loss_sum += float(loss.sum())
        correct += float((logits.argmax(dim=1) == labels).sum())
        count += len(labels)
    return time.perf_counter() - begin


def evaluate(net: nn.Module, batches: Batches, device: torch.device) -> float:
    """The chapter's evaluation of accuracy; its classification of the test folder takes as long.

    Returns:
        Seconds.
    """
    net.to(device).eval()
    correct = count = 0.0
    begin = time.perf_counter()
    with torch.no_grad():
        for images, labels in batches:
            images, labels = images.to(device), labels.to(device)
            correct += float((net(images).argmax(dim=1) == labels).sum())
            count += len(labels)
    return time.perf_counter() - begin
