"""A network of the user's own, with batch normalisation, which each process of several measures for itself."""

from torch import Tensor, nn


class Normed(nn.Module):
    """28x28 grey images to 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(676, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
