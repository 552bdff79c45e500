"""A trained run in Python: its network together with its own preprocessing."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor, nn

from imgclf.data.decode import DAMAGE, why
from imgclf.data.module import ImageData
from imgclf.errors import InputError
from imgclf.evaluate import trained
from imgclf.models.classifier import Classifier
from imgclf.models.misfit import head_of

Images = NDArray[np.uint8] | Image.Image | str | Path | Sequence[Image.Image | str | Path]


class Predictor:
    """What ``imgclf.load`` gives.

    Args:
        model: the network, ready for evaluation; ``predictor.model.to("cuda")`` moves the work there.
        data: the run's, which knows the classes and how a picture becomes an input; nothing of it is read.

    ``class_names`` has the classes by label.
    """

    def __init__(self, model: Classifier, data: ImageData) -> None:
        self.model, self.data, self.class_names = model.eval(), data, tuple(data.class_names)

    @torch.no_grad()
    def predict(self, images: Images, average_flips: bool = False) -> NDArray[np.float32]:
        """Probabilities (n, classes).

        Args:
            images: arrays uint8 (n, h, w, c) or, grey, (n, h, w), or one (h, w, c); PIL pictures or paths, one or a
                sequence of them; of any size and mode, each is decoded as the run's own pictures were.
            average_flips: average over each image and its mirror image.
        """
        self.model.average_flips = average_flips
        batches = [self.model.predict_step((inputs, inputs), 0).cpu().numpy() for inputs in self._inputs(images)]
        return np.concatenate([np.empty((0, self.model.num_classes), np.float32), *batches])

    @torch.no_grad()
    def embed(self, images: Images) -> NDArray[np.float32]:
        """Float32 (n, features): what the network's last layer is fed, averaged over places where it is a map."""
        found: list[Tensor] = []
        head = self.model.get_submodule(head_of(self.model, self.model.num_classes))

        def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            features = inputs[0].float()
            if features.ndim > 2:  # of places or tokens
                features = features.flatten(1, -2).mean(1) if isinstance(module, nn.Linear) else features.mean((2, 3))
            found.append(features.cpu())

        handle = head.register_forward_pre_hook(keep)
        try:
            for inputs in self._inputs(images):
                self.model(inputs)
        finally:
            handle.remove()
        return torch.cat(found).numpy() if found else np.empty((0, 0), np.float32)

    def _inputs(self, images: Images) -> Iterator[Tensor]:
        """Batches as the network is fed; few pictures are open at a time."""
        if isinstance(images, np.ndarray):
            channels = images.shape[3] if images.ndim == 4 else 1
            if images.dtype != np.uint8 or images.ndim not in (3, 4) or channels not in (1, 3, 4):
                raise InputError(f"images: expected uint8 (n, h, w, c), got {images.dtype} {images.shape}")
        if isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[2] in (1, 3, 4):
            images = images[None]  # one (h, w, c); nobody has grey pictures so few pixels wide
        rest = iter([images] if isinstance(images, str | Path | Image.Image) else images)
        while batch := list(islice(rest, self.data.eval_batch_size)):
            pixels = np.stack([self._decoded(image) for image in batch])
            yield self.data.to_input(torch.from_numpy(pixels).to(self.model.device)).to(self.model.dtype)

    def _decoded(self, image: NDArray[np.uint8] | Image.Image | str | Path) -> NDArray[np.uint8]:
        if isinstance(image, np.ndarray):
            image = Image.fromarray(image[..., 0] if image.shape[-1] == 1 and image.ndim == 3 else image)
        try:
            return self.data.decode(image if isinstance(image, Image.Image) else Path(image))
        except DAMAGE as error:
            raise InputError(f"{image} cannot be read as a picture: {why(error)}") from error


def load(run: str | Path, checkpoint: str = "best", trust: Sequence[str] = ()) -> Predictor:
    """A finished run's network, with what it needs to be shown any picture.

    Args:
        run: its folder.
        checkpoint: ``best`` or ``last``.
        trust: classes of others that the folder may name, as on the command line.

    Raises InputError: it is no such folder, or names what is not trusted.
    """
    asked = OmegaConf.create({"run": str(run), "checkpoint": checkpoint, "trust": list(trust)})
    with torch.random.fork_rng(devices=[]):  # a notebook's own draws are left alone
        model, data = trained(asked)
    if not isinstance(model, Classifier):
        raise InputError(f"{run}: {type(model).__name__} is no imgclf.models.classifier.Classifier")
    return Predictor(model, data)
