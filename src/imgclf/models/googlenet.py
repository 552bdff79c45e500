"""GoogLeNet (Szegedy et al. 2015; Zhang et al., Dive into Deep Learning, chapter on it) and ideas of its successors.

Legend: n images, c channels, h = w pixels, k classes.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from imgclf.errors import InputError
from imgclf.models.classifier import Classifier
from imgclf.models.initialisation import Init, initialise


class Widths(NamedTuple):
    """Channels of the four paths of an Inception block, in the order of the papers' tables."""

    path1: int
    path2: tuple[int, int]
    path3: tuple[int, int]
    path4: int

    @property
    def total(self) -> int:
        """Channels of the block's output."""
        return self.path1 + self.path2[1] + self.path3[1] + self.path4


STAGES = {
    "b3": (Widths(64, (96, 128), (16, 32), 32), Widths(128, (128, 192), (32, 96), 64)),
    "b4": (
        Widths(192, (96, 208), (16, 48), 64),
        Widths(160, (112, 224), (24, 64), 64),
        Widths(128, (128, 256), (24, 64), 64),
        Widths(112, (144, 288), (32, 64), 64),
        Widths(256, (160, 320), (32, 128), 128),
    ),
    "b5": (Widths(256, (160, 320), (32, 128), 128), Widths(384, (192, 384), (48, 128), 128)),
}


class Inception(nn.Module):
    """Four paths side by side, joined along the channels: (n, in_channels, h, w) -> (n, widths.total, h, w).

    1x1 | 1x1 -> 3x3 | 1x1 -> 5x5 | 3x3 max-pool -> 1x1, with ReLU after every convolution; the one that ends each
    path is applied once, to all four together.

    Args:
        in_channels: channels of the input.
        widths: channels inside the paths.
        batch_norm: BN between every convolution and its ReLU (Ioffe & Szegedy 2015). Those convolutions have no
            bias, since BN subtracts the mean.
        factorised: the 5x5 convolution becomes two of 3x3, the 3x3 of the second path 1x3 and then 3x1, with (BN
            and) ReLU between them (Szegedy et al. 2016, sections 3.1 and 3.2). What lies between has as many
            channels as came in; widening first would save next to nothing at these widths.
        residual: ReLU(scale x joined paths + input) in place of ReLU(joined paths), so that a block whose paths give
            zero leaves its input alone (after Szegedy et al. 2017). Where the number of channels differs, the *input*
            goes through a 1x1 convolution without bias or BN, as in a residual network; the paper instead gives
            the joined paths a last 1x1 convolution of the input's width.
        residual_scale: the scale; means nothing without ``residual``.
    """

    def __init__(
        self,
        in_channels: int,
        widths: Widths,
        *,
        batch_norm: bool,
        factorised: bool,
        residual: bool,
        residual_scale: float,
    ) -> None:
        super().__init__()
        one = (1, 1)
        middle = [(1, 3), (3, 1)] if factorised else [(3, 3)]
        large = [(3, 3), (3, 3)] if factorised else [(5, 5)]
        self.path1 = _convolutions(in_channels, [(widths.path1, one)], batch_norm)
        self.path2 = _convolutions(in_channels, _narrow_then(widths.path2, middle), batch_norm)
        self.path3 = _convolutions(in_channels, _narrow_then(widths.path3, large), batch_norm)
        self.path4 = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1),
            _convolutions(in_channels, [(widths.path4, one)], batch_norm),
        )
        self.shortcut: nn.Module | None = None
        if residual:
            same = in_channels == widths.total
            self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, widths.total, 1, bias=False)
        self.residual_scale = residual_scale
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.path1(x), self.path2(x), self.path3(x), self.path4(x)], dim=1)
        return self.relu(joined if self.shortcut is None else self.residual_scale * joined + self.shortcut(x))


class GoogLeNet(Classifier):
    """Three convolutions, nine Inception blocks, mean over all pixels, linear layer; without auxiliary classifiers.

    ``net`` names its parts; for an image of 1x96x96 and 10 classes, with 5,977,530 parameters in all, they give

    - ``b1``: 7x7 convolution of stride 2, 3x3 max-pool of stride 2: (n, 64, 24, 24)
    - ``b2``: 1x1 and 3x3 convolution, max-pool: (n, 192, 12, 12)
    - ``b3``: two Inception blocks, max-pool: (n, 480, 6, 6)
    - ``b4``: five Inception blocks, max-pool: (n, 832, 3, 3)
    - ``b5``: two Inception blocks, mean over all pixels: (n, 1024)
    - ``linear``: (n, k)

    Every window is padded, so that each of the five halvings rounds up and any image from 1 pixel on goes through;
    up to 32 pixels the blocks of ``b5`` see a single one. With ``batch_norm``, such small images cannot be trained
    on in batches of one image: one value a channel has no variance.

    Args:
        in_channels: c of the images.
        image_size: height and width of the images in pixels.
        num_classes: k.
        batch_norm: BN after every convolution except on shortcuts; 5,984,810 parameters in the case above.
        factorised: smaller convolutions inside the Inception blocks; 4,194,554 parameters.
        residual: Inception blocks add their input; 7,956,922 parameters.
        residual_scale: what the paths are multiplied by before that, in (0, 1]. Nine blocks that add in full make
            outputs, and with them gradients, grow so much that training is lost with its first steps at a rate of 0.1;
            Szegedy et al. 2017, section 3.3, found 0.1 to 0.3 to be stable.
        init: ``xavier`` (uniform, Glorot & Bengio 2010; biases zero) or ``default`` (torch's own).
        training: ``label_smoothing`` and ``optimizer`` of :class:`Classifier`.

    The three switches can be combined; :class:`Inception` says what each does to a block.

    Raises:
        InputError: a value is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: int,
        num_classes: int,
        batch_norm: bool = False,
        factorised: bool = False,
        residual: bool = False,
        residual_scale: float = 0.2,
        init: Init = "xavier",
        **training: Any,
    ) -> None:
        if not 0 < residual_scale <= 1:
            raise InputError(f"model.residual_scale must lie in (0, 1], got {residual_scale}")
        stem1 = _convolutions(in_channels, [(64, (7, 7))], batch_norm, stride=2)
        stem2 = _convolutions(64, [(64, (1, 1)), (192, (3, 3))], batch_norm)
        net = nn.Sequential()
        net.add_module("b1", nn.Sequential(stem1, nn.ReLU(), _halving()))
        net.add_module("b2", nn.Sequential(stem2, nn.ReLU(), _halving()))
        channels = 192
        for name, blocks in STAGES.items():
            stage = nn.Sequential()
            for widths in blocks:
                block = Inception(
                    channels,
                    widths,
                    batch_norm=batch_norm,
                    factorised=factorised,
                    residual=residual,
                    residual_scale=residual_scale,
                )
                stage.append(block)
                channels = widths.total
            stage.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten()] if name == "b5" else [_halving()])
            net.add_module(name, stage)
        net.add_module("linear", nn.Linear(channels, num_classes))
        initialise(net, init)
        super().__init__(net, in_channels=in_channels, image_size=image_size, num_classes=num_classes, **training)


Kernel = tuple[int, int]


def _halving() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=3, stride=2, padding=1)


def _narrow_then(widths: tuple[int, int], kernels: list[Kernel]) -> list[tuple[int, Kernel]]:
    """A 1x1 convolution to the first width, then the kernels, of which only the last widens to the second."""
    narrow, wide = widths
    return [(narrow, (1, 1)), *((narrow, kernel) for kernel in kernels[:-1]), (wide, kernels[-1])]


def _convolutions(
    in_channels: int, layers: list[tuple[int, Kernel]], batch_norm: bool, stride: int = 1
) -> nn.Sequential:
    """Padded convolutions (out_channels, kernel) with (BN and) ReLU between them; the last ReLU is the caller's."""
    path = nn.Sequential()
    for index, (out_channels, kernel) in enumerate(layers):
        if index > 0:
            path.append(nn.ReLU())
        padding = (kernel[0] // 2, kernel[1] // 2)
        path.append(nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=not batch_norm))
        if batch_norm:
            path.append(nn.BatchNorm2d(out_channels))
        in_channels = out_channels
    return path
