"""What the tests of several networks share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import quiet_trainer
from torch import Tensor, nn

from imgclf.models.classifier import Classifier


@pytest.fixture(scope="session")
def parameters() -> Callable[[nn.Module], int]:
    """Number of parameters."""
    return lambda module: sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="session")
def shapes() -> Callable[[Classifier], list[tuple[int, ...]]]:
    """Shape of the example image after each named part of ``net``."""

    def after_each_part(model: Classifier) -> list[tuple[int, ...]]:
        images, found = model.example_input_array, []
        with torch.no_grad():
            for part in model.net.eval().children():
                images = part(images)
                found.append(tuple(images.shape[1:]))
        return found

    return after_each_part


@pytest.fixture(scope="session")
def without_gradient() -> Callable[[Classifier], list[str]]:
    """Names of the parameters that a random batch gives no gradient, or only zeros."""

    def names(model: Classifier) -> list[str]:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(4, *model.example_input_array.shape[1:], generator=generator)
        labels = torch.arange(4) % model.num_classes
        model.training_step((images, labels), 0).backward()
        return [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]

    return names


@pytest.fixture(scope="session")
def learns_by_heart() -> Callable[..., bool]:
    """Whether training on one random batch, at most 60 steps, brings its loss below 0.05."""

    def learns(model: Classifier, batch_size: int = 4) -> bool:
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(batch_size, *model.example_input_array.shape[1:], generator=generator)
        labels = torch.arange(batch_size) % model.num_classes
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        for _ in range(60):
            optimizer.zero_grad()
            loss = model.training_step((images, labels), 0)
            if loss < 0.05:
                return True
            loss.backward()
            optimizer.step()
        return False

    return learns


@pytest.fixture
def reopened(tmp_path: Path) -> Callable[[Classifier], dict[str, Any]]:
    """Save a model, open it again with nothing but the file, compare outputs; the file's hyperparameters."""

    def hyperparameters(model: Classifier) -> dict[str, Any]:
        trainer = quiet_trainer(max_epochs=0)
        trainer.strategy.connect(model)
        trainer.save_checkpoint(tmp_path / "net.ckpt")
        again = type(model).load_from_checkpoint(tmp_path / "net.ckpt", weights_only=True)
        images: Tensor = torch.rand(2, *model.example_input_array.shape[1:])
        assert torch.equal(again.eval()(images), model.eval()(images))
        return torch.load(tmp_path / "net.ckpt", weights_only=True)["hyper_parameters"]

    return hyperparameters
