"""Learning-rate curves: tables worked out by hand, and what holds for any setting."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgclf.schedules import curves

TABLES: list[tuple[str, Callable[[int], float], list[tuple[int, float]]]] = [
    ("constant 0.3", lambda t: curves.constant(t, base_rate=0.3), [(0, 0.3), (1, 0.3), (29, 0.3)]),
    (
        "square root from 0.1",
        lambda t: curves.square_root(t, base_rate=0.1),
        [(0, 0.1), (3, 0.05), (8, 0.1 / 3), (24, 0.02), (99, 0.01)],
    ),
    (
        "factor 0.9 from 2 down to 0.01",
        lambda t: curves.factor(t, base_rate=2.0, factor=0.9, min_rate=1e-2),
        # 0.9^50 = 0.00515378, so t = 50 is the last update above the floor
        [(0, 2.0), (1, 1.8), (2, 1.62), (3, 1.458), (50, 0.01030755), (51, 0.01), (500, 0.01)],
    ),
    (
        "half of 0.5 at 15 and 30",
        lambda t: curves.multi_step(t, base_rate=0.5, milestones=(15, 30), factor=0.5),
        [(0, 0.5), (14, 0.5), (15, 0.25), (29, 0.25), (30, 0.125), (99, 0.125)],
    ),
    (
        "times 0.9 every 4, from 2e-4",
        lambda t: curves.step(t, base_rate=2e-4, period=4, factor=0.9),
        [(0, 2e-4), (3, 2e-4), (4, 1.8e-4), (7, 1.8e-4), (8, 1.62e-4), (19, 1.3122e-4)],
    ),
    (
        "cosine from 0.3 to 0.01 in 20",
        lambda t: curves.cosine(t, base_rate=0.3, final_rate=0.01, max_updates=20),
        [(0, 0.3), (5, 0.25753048), (10, 0.155), (15, 0.05246952), (20, 0.01), (29, 0.01)],
    ),
    (
        "polynomial of power 2 from 0.5 in 20",
        lambda t: curves.polynomial(t, base_rate=0.5, power=2, max_updates=20),
        [(0, 0.5), (5, 0.28125), (10, 0.125), (19, 0.00125), (20, 0.0), (99, 0.0)],
    ),
    (
        "straight line from 0.5 in 20",
        lambda t: curves.polynomial(t, base_rate=0.5, power=1, max_updates=20),
        [(0, 0.5), (5, 0.375), (10, 0.25), (20, 0.0)],
    ),
    (
        "warm-up from 0 to 0.3 in 5",
        lambda t: curves.warmup(t, warmup_updates=5, start_rate=0.0, base_rate=0.3),
        [(0, 0.0), (1, 0.06), (2, 0.12), (4, 0.24), (5, 0.3), (9, 0.3)],
    ),
    (
        "warm-up from 0.1 to 0.3 in 4",
        lambda t: curves.warmup(t, warmup_updates=4, start_rate=0.1, base_rate=0.3),
        [(0, 0.1), (1, 0.15), (3, 0.25), (4, 0.3)],
    ),
    (
        "no warm-up",
        lambda t: curves.warmup(t, warmup_updates=0, start_rate=0.1, base_rate=0.3),
        [(0, 0.3), (1, 0.3)],
    ),
]


@pytest.mark.parametrize(("curve", "table"), [row[1:] for row in TABLES], ids=[row[0] for row in TABLES])
def test_a_curve_agrees_with_the_table_worked_out_by_hand(
    curve: Callable[[int], float], table: list[tuple[int, float]]
) -> None:
    rates = [curve(update) for update, _ in table]
    assert rates == pytest.approx([rate for _, rate in table], rel=1e-6, abs=1e-12)
    assert all(type(rate) is float for rate in rates)


UPDATES = st.integers(0, 3000)
RATES = st.floats(1e-6, 10)
FRACTIONS = st.floats(0, 1)
FACTORS = st.floats(0.01, 1)


@given(base_rate=RATES, factor=FACTORS, floor=FRACTIONS, updates=st.integers(0, 60))
def test_factor_solves_its_recursion(base_rate: float, factor: float, floor: float, updates: int) -> None:
    min_rate = base_rate * floor
    rate = base_rate
    for _ in range(updates):
        rate = max(min_rate, rate * factor)
    closed = curves.factor(updates, base_rate=base_rate, factor=factor, min_rate=min_rate)
    assert closed == pytest.approx(rate, rel=1e-9)


@given(base_rate=RATES, fraction=FRACTIONS, max_updates=st.integers(1, 1000))
def test_cosine_starts_and_ends_to_the_last_bit(base_rate: float, fraction: float, max_updates: int) -> None:
    final_rate = base_rate * fraction

    def rate(update: int) -> float:
        return curves.cosine(update, base_rate=base_rate, final_rate=final_rate, max_updates=max_updates)

    assert rate(0) == base_rate
    assert rate(max_updates) == rate(max_updates + 7) == final_rate
    if max_updates % 2 == 0:
        assert rate(max_updates // 2) == pytest.approx((base_rate + final_rate) / 2)


@given(update=UPDATES, period=st.integers(1, 500), factor=FACTORS)
def test_step_is_multi_step_with_evenly_spaced_milestones(update: int, period: int, factor: float) -> None:
    milestones = range(period, update + 1, period)
    expected = curves.multi_step(update, base_rate=1.0, milestones=milestones, factor=factor)
    assert curves.step(update, base_rate=1.0, period=period, factor=factor) == expected


@given(update=UPDATES, base_rate=RATES, scale=st.floats(0.01, 100), factor=FACTORS, fraction=FRACTIONS)
def test_scaling_the_rates_scales_the_curve(
    update: int, base_rate: float, scale: float, factor: float, fraction: float
) -> None:
    def rates(unit: float) -> list[float]:
        base, low = unit * base_rate, unit * base_rate * fraction
        return [
            curves.constant(update, base_rate=base),
            curves.square_root(update, base_rate=base),
            curves.factor(update, base_rate=base, factor=factor, min_rate=low),
            curves.multi_step(update, base_rate=base, milestones=(3, 70, 800), factor=factor),
            curves.step(update, base_rate=base, period=40, factor=factor),
            curves.polynomial(update, base_rate=base, power=1.5, max_updates=900),
            curves.cosine(update, base_rate=base, final_rate=low, max_updates=900),
            curves.warmup(update, warmup_updates=900, start_rate=low, base_rate=base),
        ]

    assert rates(scale) == pytest.approx([scale * rate for rate in rates(1.0)], rel=1e-9, abs=1e-300)


def test_a_long_run_ends_in_zero_rather_than_in_an_overflow() -> None:
    assert curves.factor(10**9, base_rate=2.0, factor=0.9, min_rate=0.0) == 0.0
    assert curves.step(10**9, base_rate=2.0, period=1, factor=0.9) == 0.0
    assert math.isclose(curves.square_root(10**8 - 1, base_rate=1.0), 1e-4)
