"""Activation curves against what is known of them, and their picture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from imgclf.figures.activations import activation_curve, activation_table, draw_activations
from imgclf.figures.canvas import save

X = np.arange(-8, 8, 0.1)
ZERO = np.zeros(1)


def test_sigmoid_is_steepest_at_0_with_a_quarter() -> None:
    curve = activation_curve(nn.Sigmoid(), X)
    assert curve.slopes.max() == pytest.approx(0.25)
    assert X[curve.slopes.argmax()] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(curve.slopes, curve.values * (1 - curve.values), rtol=1e-9)


def test_tanh_is_steepest_at_0_with_1() -> None:
    curve = activation_curve(nn.Tanh(), X)
    assert curve.slopes.max() == pytest.approx(1)
    assert X[curve.slopes.argmax()] == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(curve.slopes, 1 - curve.values**2, atol=1e-12)


def test_tanh_is_a_stretched_sigmoid() -> None:
    np.testing.assert_allclose(
        activation_curve(nn.Tanh(), X).values + 1, 2 * activation_curve(nn.Sigmoid(), 2 * X).values, atol=1e-12
    )


def test_relu_has_slope_0_at_0() -> None:
    curve = activation_curve(nn.ReLU(), np.array([-1.0, 0.0, 2.0]))
    assert curve.values.tolist() == [0, 0, 2]
    assert curve.slopes.tolist() == [0, 0, 1]


def test_prelu_has_its_learnt_slope_below_0() -> None:
    curve = activation_curve(nn.PReLU(init=0.125), np.array([-4.0, 3.0]))
    assert curve.values.tolist() == [-0.5, 3]
    assert curve.slopes.tolist() == [0.125, 1]


def test_table() -> None:
    functions = {"sigmoid": nn.Sigmoid(), "identity": nn.Identity()}
    curves = {name: activation_curve(f, X) for name, f in functions.items()}
    text = activation_table(curves, {name: activation_curve(f, ZERO) for name, f in functions.items()})
    assert [line.split() for line in text.splitlines()[1:]] == [
        ["sigmoid", "0.5", "0.25", "0.25"],
        ["identity", "0", "1", "1"],
    ]


@pytest.mark.parametrize("count", [1, 3, 7])
def test_any_number_is_drawn(count: int, tmp_path: Path, ink: Callable[[Path], float]) -> None:
    curves = {f"function {i}": activation_curve(nn.PReLU(init=i / 10), X) for i in range(count)}
    assert ink(save(draw_activations(curves), tmp_path / "made" / "activations.png")) > 0.01
    assert [file.name for file in (tmp_path / "made").iterdir()] == ["activations.png"], "nothing is left aside"
