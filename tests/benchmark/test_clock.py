"""Durations from the moments of a run, worked out by hand."""

from imgclf.benchmark.clock import Moments

RUN = Moments(
    [
        ("epoch", 0, 10.0),
        ("first", 0, 10.5),
        ("last", 0, 14.0),
        ("val", 0, 14.5),
        ("val_end", 0, 16.5),
        ("epoch", 1, 17.0),
        ("first", 1, 17.1),
        ("last", 1, 20.0),
        ("val", 1, 20.0),
        ("val_end", 1, 21.0),
        ("end", 1, 21.25),
    ]
)


def test_an_epoch_lasts_until_the_next_begins_without_validation() -> None:
    assert RUN.epochs() == [5.0, 3.25]


def test_a_whole_epoch_has_its_validation() -> None:
    assert RUN.whole_epochs() == [7.0, 4.25]


def test_steps_last_from_the_first_batch_to_the_last() -> None:
    assert RUN.steps() == [3.5, 20.0 - 17.1]


def test_a_stage_lasts_from_its_beginning_to_its_end() -> None:
    assert RUN.stage("val") == [2.0, 1.0]


def test_a_run_without_validation_has_epochs_too() -> None:
    assert Moments([("epoch", 0, 1.0), ("epoch", 1, 3.0), ("end", 1, 4.5)]).epochs() == [2.0, 1.5]
