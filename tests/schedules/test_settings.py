"""What a schedule's settings mean before any training: previews, refusals, and the files in conf/schedule."""

import inspect
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import instantiate
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from imgclf.errors import InputError
from imgclf.schedules import callback
from imgclf.schedules.callback import (
    Constant,
    Cosine,
    Factor,
    MultiStep,
    Polynomial,
    Schedule,
    SquareRoot,
    Step,
)

CONF = Path(__file__).parents[2] / "conf" / "schedule"
CLASSES = {
    "constant": Constant,
    "square_root": SquareRoot,
    "factor": Factor,
    "multi_step": MultiStep,
    "step": Step,
    "cosine": Cosine,
    "polynomial": Polynomial,
}


def preview(schedule: Schedule, updates: list[int], total_updates: int | None = 30) -> list[float]:
    return [schedule.curve(update, total_updates) for update in updates]


# Warm-up in front of any schedule. Expected values by hand, with u the update and t = u - 5.


def test_cosine_after_a_warm_up_decays_over_what_is_left() -> None:
    schedule = Cosine(final_fraction=0.01 / 0.3, max_updates=20, warmup_updates=5)
    rates = [0.3 * fraction for fraction in preview(schedule, [0, 1, 4, 5, 10, 15, 20, 29])]
    # at 10 and 15 a third and two thirds of the 15 updates are over: cos 60° = 0.5 and cos 120° = -0.5
    assert rates == pytest.approx([0.0, 0.06, 0.24, 0.3, 0.2275, 0.0825, 0.01, 0.01])


def test_polynomial_after_a_warm_up_ends_with_the_run() -> None:
    schedule = Polynomial(power=2, warmup_updates=5, warmup_start=0.2)
    # 25 updates are left of 30: (1 - 5/25)^2 = 0.64
    assert preview(schedule, [0, 1, 5, 10, 30]) == pytest.approx([0.2, 0.36, 1.0, 0.64, 0.0])


def test_milestones_stay_where_they_are_behind_a_warm_up() -> None:
    schedule = MultiStep(milestones=[15, 30], factor=0.5, warmup_updates=5)
    assert preview(schedule, [4, 5, 14, 15, 29, 30]) == pytest.approx([0.8, 1, 1, 0.5, 0.5, 0.25])


@pytest.mark.parametrize(
    ("schedule", "after_warmup"),
    [
        (Step(period=4, factor=0.9, warmup_updates=5), {0: 1, 3: 1, 4: 0.9, 8: 0.81}),
        (Factor(factor=0.9, min_fraction=0.005, warmup_updates=5), {0: 1, 1: 0.9, 2: 0.81, 900: 0.005}),
        (SquareRoot(warmup_updates=5), {0: 1, 3: 0.5, 24: 0.2}),
        (Constant(warmup_updates=5), {0: 1, 1: 1, 900: 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_decays_begin_at_the_end_of_the_warm_up(schedule: Schedule, after_warmup: dict[int, float]) -> None:
    assert preview(schedule, [0, 1, 2, 3, 4]) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    updates = [5 + t for t in after_warmup]
    assert preview(schedule, updates, None) == pytest.approx(list(after_warmup.values()))


def test_a_warm_up_longer_than_the_run_can_be_previewed() -> None:
    schedule = Cosine(final_fraction=0.5, warmup_updates=10)
    assert preview(schedule, [0, 3, 9], total_updates=4) == pytest.approx([0, 0.3, 0.9])


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    warmup = draw(st.integers(0, 20))
    common: dict[str, Any] = {"warmup_updates": warmup, "warmup_start": draw(st.floats(0, 1))}
    end = draw(st.none() | st.integers(warmup + 1, 100))
    factor = draw(st.floats(0.01, 1))
    fraction = draw(st.floats(0, 1))
    milestones = draw(st.lists(st.integers(warmup + 1, 100), unique=True).map(sorted))
    return draw(
        st.sampled_from(
            [
                Constant(**common),
                SquareRoot(**common),
                Factor(factor=factor, min_fraction=fraction, **common),
                MultiStep(milestones=milestones, factor=factor, **common),
                Step(period=draw(st.integers(1, 30)), factor=factor, **common),
                Cosine(final_fraction=fraction, max_updates=end, **common),
                Polynomial(power=draw(st.floats(0.1, 5)), max_updates=end, **common),
            ]
        )
    )


@given(schedule=schedules(), total=st.integers(21, 100))
def test_any_schedule_rises_to_the_full_rate_and_then_never_rises(schedule: Schedule, total: int) -> None:
    fractions = preview(schedule, list(range(total + 10)), total)
    warmup = schedule.warmup_updates
    assert fractions[warmup] == 1.0
    assert all(0 <= fraction <= 1 + 1e-12 for fraction in fractions)
    assert all(a <= b + 1e-12 for a, b in pairwise(fractions[: warmup + 1]))
    assert all(a >= b - 1e-12 for a, b in pairwise(fractions[warmup:]))
    if isinstance(schedule, Cosine | Polynomial):
        end = total if schedule.max_updates is None else schedule.max_updates
        assert schedule.curve(end, total) == getattr(schedule, "final_fraction", 0.0)


NAN, INF = float("nan"), float("inf")
COSINE: dict[str, Any] = {"final_fraction": 0.1}
FACTOR: dict[str, Any] = {"factor": 0.9, "min_fraction": 0.1}
MULTI: dict[str, Any] = {"milestones": [3], "factor": 0.5}


@pytest.mark.parametrize(
    ("cls", "settings", "key", "bad_values"),
    [
        (Constant, {}, "interval", ["step", "Epoch", None, 1]),
        (Constant, {}, "warmup_updates", [-1, 2.0, "5", True, None]),
        (Constant, {}, "warmup_start", [-0.1, 1.1, NAN, INF, "0", False, None]),
        (Factor, FACTOR, "factor", [0, 0.0, -0.5, 1.1, NAN, INF, True]),
        (Factor, FACTOR, "min_fraction", [-0.1, 2.0, NAN, INF, None]),
        (MultiStep, MULTI, "factor", [0, 2, NAN]),
        (MultiStep, MULTI, "milestones", [[30, 15], [3, 3], [-1], [0], [1.5], [True], 15, "15", None]),
        (MultiStep, {**MULTI, "milestones": [15], "warmup_updates": 5}, "milestones", [[3, 15], [5, 15]]),
        (Step, {"period": 4, "factor": 0.9}, "period", [0, -4, 4.0, True, None]),
        (Step, {"period": 4, "factor": 0.9}, "factor", [0, 1.5]),
        (Cosine, COSINE, "final_fraction", [-0.1, 1.5, NAN, INF, "0.1", True]),
        (Cosine, COSINE, "max_updates", [0, -20, 20.0, "20", True]),
        (Cosine, {**COSINE, "warmup_updates": 5}, "max_updates", [3, 5]),
        (Polynomial, {"power": 2}, "power", [0, -1, NAN, INF, True, "2"]),
        (Polynomial, {"power": 2}, "max_updates", [0, False]),
    ],
)
def test_nonsense_is_refused_with_key_value_and_remedy(
    cls: type[Schedule], settings: dict[str, Any], key: str, bad_values: list[Any]
) -> None:
    cls(**settings)  # fine without the bad value
    for value in bad_values:
        with pytest.raises(InputError) as error:
            cls(**{**settings, key: value})
        message = str(error.value)
        assert message.startswith(f"schedule.{key}={value!r}")
        assert "give" in message


def test_a_schedule_over_the_whole_run_needs_to_know_its_length() -> None:
    with pytest.raises(InputError, match=r"schedule\.max_updates=null.*set schedule\.max_updates"):
        Cosine(final_fraction=0.1).curve(3, None)
    assert Cosine(final_fraction=0.1, max_updates=2).curve(3, None) == 0.1


def test_every_schedule_has_a_file_in_conf() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == set(CLASSES)
    concrete = {getattr(callback, name) for name in callback.__all__} - {Schedule}
    assert concrete == set(CLASSES.values())


@pytest.mark.parametrize("name", CLASSES)
def test_a_config_file_gives_every_argument_and_builds_its_schedule(name: str) -> None:
    config = OmegaConf.load(CONF / f"{name}.yaml")
    assert OmegaConf.is_dict(config)
    arguments = inspect.signature(CLASSES[name]).parameters
    assert set(config) == {"_target_", *arguments}
    # A neutral default in Python and the one in the file must not drift apart.
    for argument in arguments.values():
        assert argument.kind is inspect.Parameter.KEYWORD_ONLY
        if argument.default is not inspect.Parameter.empty:
            assert config[argument.name] == argument.default
    schedule = instantiate(config)
    assert type(schedule) is CLASSES[name]
    assert schedule.curve(0, 40) == 1.0


@pytest.mark.parametrize("name", CLASSES)
def test_a_config_file_explains_itself(name: str) -> None:
    first, target, *settings = (CONF / f"{name}.yaml").read_text().splitlines()
    assert first.startswith("# ")
    assert target.startswith("_target_:")
    assert all("  # " in line for line in settings)
