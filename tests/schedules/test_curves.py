"""Learning-rate curves by tables worked out by hand, settings that make no sense, and the files in conf/schedule."""

from typing import Any

import pytest

from imgclf.errors import InputError
from imgclf.schedules.callback import Constant, Cosine, Factor, MultiStep, Polynomial, Schedule, SquareRoot, Step

CHAPTERS_COSINE = {"final_fraction": 0.01 / 0.3, "max_updates": 20}


@pytest.mark.parametrize(
    ("schedule", "initial", "rates"),
    [
        (Constant(warmup_updates=5), 0.3, {0: 0.0, 1: 0.06, 2: 0.12, 4: 0.24, 5: 0.3, 900: 0.3}),
        (SquareRoot(), 0.1, {0: 0.1, 3: 0.05, 8: 0.1 / 3, 24: 0.02, 99: 0.01}),
        (SquareRoot(warmup_updates=5), 0.1, {4: 0.08, 5: 0.1, 8: 0.05, 29: 0.02}),
        # 0.9^50 = 0.00515378, so t = 50 is the last update above the floor
        (Factor(factor=0.9, min_fraction=0.005), 2.0, {0: 2.0, 1: 1.8, 2: 1.62, 50: 0.01030755, 51: 0.01, 10**9: 0.01}),
        (Factor(factor=0.9, min_fraction=0, warmup_updates=5), 1.0, {4: 0.8, 5: 1.0, 7: 0.81, 10**9: 0.0}),
        (MultiStep(milestones=[15, 30], factor=0.5), 0.5, {0: 0.5, 14: 0.5, 15: 0.25, 29: 0.25, 30: 0.125, 99: 0.125}),
        (Step(period=4, factor=0.9), 2e-4, {0: 2e-4, 3: 2e-4, 4: 1.8e-4, 8: 1.62e-4, 19: 1.3122e-4, 10**9: 0.0}),
        (Cosine(**CHAPTERS_COSINE), 0.3, {0: 0.3, 5: 0.25753048, 10: 0.155, 15: 0.05246952, 20: 0.01, 29: 0.01}),
        # at 10 and 15 a third and two thirds of the 15 updates are over: cos 60° = 0.5 and cos 120° = -0.5
        (Cosine(**CHAPTERS_COSINE, warmup_updates=5), 0.3, {0: 0.0, 4: 0.24, 5: 0.3, 10: 0.2275, 15: 0.0825, 29: 0.01}),
        (Cosine(final_fraction=0.5, warmup_updates=40), 1.0, {0: 0.0, 4: 0.1, 29: 0.725}),
        (Polynomial(power=2, max_updates=20), 0.5, {0: 0.5, 5: 0.28125, 10: 0.125, 19: 0.00125, 20: 0.0, 99: 0.0}),
        # 25 updates are left of the run's 30: (1 - 5/25)^2 = 0.64
        (Polynomial(power=2, warmup_updates=5, warmup_start=0.2), 1.0, {0: 0.2, 1: 0.36, 5: 1.0, 10: 0.64, 30: 0.0}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Schedule) else "",
)
def test_a_curve_agrees_with_the_table_worked_out_by_hand(
    schedule: Schedule, initial: float, rates: dict[int, float]
) -> None:
    found = [initial * schedule.curve(update, 30) for update in rates]
    assert found == pytest.approx(list(rates.values()), rel=1e-6, abs=1e-12)


NAN = float("nan")
MULTI: dict[str, Any] = {"milestones": [15], "factor": 0.5}


@pytest.mark.parametrize(
    ("cls", "settings", "key", "bad_values"),
    [
        (Constant, {}, "interval", ["step", None]),
        (Constant, {}, "warmup_updates", [-1, 2.0, "5", True, None]),
        (Factor, {"factor": 0.9, "min_fraction": 0.1}, "factor", [0, 0.0, -0.5, 1.1, NAN, True]),
        (MultiStep, MULTI, "milestones", [[30, 15], [3, 3], [-1], [0], [1.5], [True], 15, "15", None]),
        (MultiStep, {**MULTI, "warmup_updates": 5}, "milestones", [[3, 15], [5, 15]]),
        (Cosine, {"final_fraction": 0.1, "warmup_updates": 5}, "max_updates", [0, -20, 20.0, "20", True, 3, 5]),
    ],
)
def test_nonsense_is_refused_with_key_and_value(cls: Any, settings: Any, key: str, bad_values: list[Any]) -> None:
    cls(**settings)  # fine without the bad value
    for value in bad_values:
        with pytest.raises(InputError) as error:
            cls(**{**settings, key: value})
        assert str(error.value).startswith(f"schedule.{key}={value!r}: ")
