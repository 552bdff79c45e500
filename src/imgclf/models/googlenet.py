"""GoogLeNet (Szegedy et al. 2015; Zhang et al., Dive into Deep Learning, chapter on it) and ideas of its successors."""

from typing import Any

import torch
from torch import Tensor, nn

from imgclf.models.classifier import Classifier
from imgclf.models.layers import Init, initialise
from imgclf.ranges import FractionAbove0

Widths = tuple[int, tuple[int, int], tuple[int, int], int]  # channels of a block's four paths, as in the papers' tables

STAGES: dict[str, list[Widths]] = {
    "b3": [(64, (96, 128), (16, 32), 32), (128, (128, 192), (32, 96), 64)],
    "b4": [
        (192, (96, 208), (16, 48), 64),
        (160, (112, 224), (24, 64), 64),
        (128, (128, 256), (24, 64), 64),
        (112, (144, 288), (32, 64), 64),
        (256, (160, 320), (32, 128), 128),
    ],
    "b5": [(256, (160, 320), (32, 128), 128), (384, (192, 384), (48, 128), 128)],
}


class Inception(nn.Module):
    """Four paths side by side, joined along the channels: (n, in_channels, h, w) -> (n, out_channels, h, w).

    1x1 | 1x1 -> 3x3 | 1x1 -> 5x5 | 3x3 max-pool -> 1x1, with ReLU after every convolution; the one that ends each
    path is applied once, to all four together.

    Args:
        in_channels: channels of the input.
        widths: channels inside the paths.
        batch_norm: BN between every convolution, then without bias, and its ReLU (Ioffe & Szegedy 2015).
        factorised: the 5x5 convolution becomes two of 3x3, the 3x3 of the second path 1x3 and then 3x1, with (BN
            and) ReLU between them (Szegedy et al. 2016, sections 3.1 and 3.2); as many channels lie between as came in.
        residual_scale: None for no shortcut; else ReLU(scale x joined paths + input) in place of ReLU(joined paths)
            (after Szegedy et al. 2017). Where the number of channels differs, the *input* goes through a 1x1
            convolution without bias or BN, as in a residual network; in the paper the joined paths do.
    """

    def __init__(
        self, in_channels: int, widths: Widths, *, batch_norm: bool, factorised: bool, residual_scale: float | None
    ) -> None:
        super().__init__()
        c1, c2, c3, c4 = widths
        one = (1, 1)
        middle = [(c2[0], (1, 3)), (c2[1], (3, 1))] if factorised else [(c2[1], (3, 3))]
        large = [(c3[0], (3, 3)), (c3[1], (3, 3))] if factorised else [(c3[1], (5, 5))]
        self.path1 = _convolutions(in_channels, [(c1, one)], batch_norm)
        self.path2 = _convolutions(in_channels, [(c2[0], one), *middle], batch_norm)
        self.path3 = _convolutions(in_channels, [(c3[0], one), *large], batch_norm)
        pooled = _convolutions(in_channels, [(c4, one)], batch_norm)
        self.path4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), pooled)
        self.out_channels = c1 + c2[1] + c3[1] + c4
        self.shortcut: nn.Module | None = None
        if residual_scale is not None:
            same = in_channels == self.out_channels
            self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, self.out_channels, 1, bias=False)
        self.residual_scale = residual_scale or 1.0
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.path1(x), self.path2(x), self.path3(x), self.path4(x)], dim=1)
        return self.relu(joined if self.shortcut is None else self.residual_scale * joined + self.shortcut(x))


class GoogLeNet(Classifier):
    """Three convolutions, nine Inception blocks, mean over all pixels, linear layer; without auxiliary classifiers.

    ``net`` names its parts. An image of 1x96x96 becomes (64, 24, 24) in ``b1``, (192, 12, 12) in ``b2``, (480, 6, 6) in
    ``b3``, (832, 3, 3) in ``b4``, (1024,) in ``b5``, and 10 logits in ``linear``: 5,977,530 parameters.

    Every window is padded, so that each of the five halvings rounds up and any image from 1 pixel on goes through;
    up to 32 pixels the blocks of ``b5`` see a single one, with which ``batch_norm`` cannot train on one image alone.

    Args:
        batch_norm: BN after every convolution except on shortcuts; 5,984,810 parameters in the case above.
        factorised: smaller convolutions inside the Inception blocks; 4,194,554 parameters.
        residual: Inception blocks add their input; 7,956,922 parameters.
        residual_scale: what the paths are multiplied by before that, in (0, 1]. Nine blocks that add in full lose
            training with its first steps at a rate of 0.1; Szegedy et al. 2017, section 3.3, use 0.1 to 0.3.
        init: ``xavier`` (uniform, Glorot & Bengio 2010; biases zero) or ``default`` (torch's own).
        in_channels, image_size, num_classes, training: see :class:`Classifier`.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        batch_norm: bool = False,
        factorised: bool = False,
        residual: bool = False,
        residual_scale: FractionAbove0 = 0.2,
        init: Init = "xavier",
        **training: Any,
    ) -> None:
        stem1 = _convolutions(in_channels, [(64, (7, 7))], batch_norm, stride=2)
        stem2 = _convolutions(64, [(64, (1, 1)), (192, (3, 3))], batch_norm)
        net = nn.Sequential()
        net.add_module("b1", nn.Sequential(stem1, nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)))
        net.add_module("b2", nn.Sequential(stem2, nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)))
        channels, scale = 192, residual_scale if residual else None
        for name, blocks in STAGES.items():
            stage = nn.Sequential()
            for widths in blocks:
                block = Inception(channels, widths, batch_norm=batch_norm, factorised=factorised, residual_scale=scale)
                stage.append(block)
                channels = block.out_channels
            halving = nn.MaxPool2d(3, stride=2, padding=1)
            stage.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten()] if name == "b5" else [halving])
            net.add_module(name, stage)
        net.add_module("linear", nn.Linear(channels, num_classes))
        initialise(net, init)
        super().__init__(net, in_channels=in_channels, image_size=image_size, num_classes=num_classes, **training)


def _convolutions(
    in_channels: int, layers: list[tuple[int, tuple[int, int]]], batch_norm: bool, stride: int = 1
) -> nn.Sequential:
    """Padded convolutions (out_channels, kernel) with (BN and) ReLU between them; the last ReLU is the caller's."""
    path = nn.Sequential()
    for out_channels, kernel in layers:
        if len(path):
            path.append(nn.ReLU())
        padding = (kernel[0] // 2, kernel[1] // 2)
        path.append(nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=not batch_norm))
        if batch_norm:
            path.append(nn.BatchNorm2d(out_channels))
        in_channels = out_channels
    return path
