"""Activation functions against what is known of them; how derivatives and rates are drawn."""

import numpy as np
import pytest
from torch import nn

from imgclf.figures.curves import activation_curve, draw_activations, draw_schedules, pixels


def test_the_derivative_of_relu_is_0_at_0_and_jumps_there() -> None:
    curve = activation_curve(nn.ReLU(), np.array([-1.0, 2.0]))
    assert curve.inputs.tolist() == [-1, 0, 1e-9, 2]
    assert curve.slopes.tolist() == [0, 0, 1, 1]
    picture = draw_activations({"relu": curve})
    below, above, at_zero = picture.axes[1].lines
    assert (below.get_ydata().tolist(), above.get_ydata().tolist()) == ([0, 0], [1, 1])
    assert at_zero.get_xydata().tolist() == [[0, 0]]
    assert pixels(picture).shape[1:] == (1200, 3)


def test_rates_are_steps_on_one_scale() -> None:
    panels = {f"schedule {i}": {"plain": [1.0, 0.5], "warmed up": [0.0, 2.0 * i]} for i in range(5)}
    figure = draw_schedules(panels, "epoch")
    drawn = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_ylim() for axes in drawn] == [(0, pytest.approx(8.4))] * 5
    plain, warm = drawn[1].lines
    assert {line.get_drawstyle() for line in (plain, warm)} == {"steps-post"}
    assert (list(warm.get_xdata()), list(warm.get_ydata())) == ([0, 1, 2], [0, 2, 2])
