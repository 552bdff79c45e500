"""The multilayer perceptron."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import quiet_trainer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from imgclf.errors import InputError
from imgclf.models.mlp import MLP


def mlp(**changes: Any) -> MLP:
    return MLP(**{"in_channels": 1, "image_size": 4, "num_classes": 3, "hidden_sizes": [8, 5]} | changes)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_chapters_network_has_203530_parameters() -> None:
    # 784 * 256 + 256 + 256 * 10 + 10
    assert parameters(MLP(in_channels=1, image_size=28, num_classes=10, hidden_sizes=[256])) == 203_530


def test_images_become_one_logit_a_class() -> None:
    assert mlp(in_channels=3)(torch.rand(7, 3, 4, 4)).shape == (7, 3)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), weight=st.floats(-2, 2))
def test_without_activation_the_stack_is_one_affine_map(seed: int, weight: float) -> None:
    torch.manual_seed(seed)
    net = mlp(activation="identity", init="default").double()
    x, y = torch.rand(2, 5, 1, 4, 4, dtype=torch.float64)
    mixed = net(weight * x + (1 - weight) * y)
    torch.testing.assert_close(mixed, weight * net(x) + (1 - weight) * net(y))
    # and its matrix is the product of the layers' matrices
    product = torch.eye(16, dtype=torch.float64)
    for layer in net.net:
        if isinstance(layer, nn.Linear):
            product = layer.weight @ product
    torch.testing.assert_close(net(x) - net(y), (x - y).flatten(1) @ product.T)


def test_with_an_activation_it_is_not_affine() -> None:
    torch.manual_seed(0)
    for activation in ("relu", "prelu", "sigmoid", "tanh"):
        net = mlp(activation=activation)
        x, y = torch.randn(2, 50, 1, 4, 4)
        assert not torch.allclose(net((x + y) / 2), (net(x) + net(y)) / 2, atol=1e-4), activation


def test_prelu_learns_one_slope_a_hidden_layer() -> None:
    assert parameters(mlp(activation="prelu")) == parameters(mlp()) + 2


def test_no_hidden_layer_gives_a_linear_classifier() -> None:
    assert parameters(mlp(hidden_sizes=[])) == 16 * 3 + 3


def test_xavier_weights_keep_to_their_bound_and_biases_are_zero() -> None:
    for layer in mlp(init="xavier").net:
        if isinstance(layer, nn.Linear):
            bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
            assert 0.5 * bound < layer.weight.abs().max() <= bound
            assert not layer.bias.any()
    assert mlp(init="default").net[1].bias.any()


def test_dropout_acts_in_training_only() -> None:
    net = mlp(dropout=0.5)
    x = torch.rand(4, 1, 4, 4)
    assert torch.equal(net.eval()(x), net(x))
    assert not torch.equal(net.train()(x), net(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "rleu"}, "model.activation must be one of relu, .* got 'rleu'"),
        ({"init": "zeros"}, "model.init must be xavier or default"),
        ({"dropout": 1.0}, r"model.dropout must lie in \[0, 1\), got 1.0"),
        ({"hidden_sizes": [8, 0]}, r"model.hidden_sizes must all be at least 1, got \[8, 0\]"),
        ({"label_smoothing": 1.0}, r"model.label_smoothing must lie in \[0, 1\), got 1.0"),
    ],
)
def test_nonsense_is_refused_with_key_and_value(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mlp(**change)


def test_a_checkpoint_opens_with_nothing_else_at_hand_and_without_pickled_objects(tmp_path: Path) -> None:

    net = mlp(activation="tanh", label_smoothing=0.1, optimizer=lambda p: torch.optim.SGD(p, lr=0.1))
    trainer = quiet_trainer(max_epochs=0)
    trainer.strategy.connect(net)
    trainer.save_checkpoint(tmp_path / "net.ckpt")
    assert torch.load(tmp_path / "net.ckpt", weights_only=True)["hyper_parameters"] == {
        "in_channels": 1,
        "image_size": 4,
        "num_classes": 3,
        "hidden_sizes": [8, 5],
        "activation": "tanh",
        "dropout": 0.0,
        "init": "xavier",
        "label_smoothing": 0.1,
        "channels_last": "auto",
        "compile": False,
    }
    again = MLP.load_from_checkpoint(tmp_path / "net.ckpt", weights_only=True)
    x = torch.rand(2, 1, 4, 4)
    assert torch.equal(again.eval()(x), net.eval()(x))
