"""Which settings a report shows."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from imgclf.report.settings import ABSENT, flat, identity, resolved, settings_of

BASE = {
    "name": "x",
    "seed": 0,
    "data.resize": 28,
    "data.seed": 0,
    "model._target_": "imgclf.models.mlp.MLP",
    "model.image_size": 28,
    "optimizer._target_": "torch.optim.SGD",
    "optimizer.lr": 0.1,
    "optimizer.momentum": 0.0,
    "trainer.max_epochs": 3,
}


def shown(changes: Sequence[dict[str, Any]], overrides: Sequence[Sequence[str]] | None = None) -> list[str]:
    """Keys shown for runs that change these settings; unless given, the changes are what the command line named."""
    named = overrides if overrides is not None else [[f"{k}={v}" for k, v in change.items()] for change in changes]
    configs = [{k: v for k, v in (BASE | change).items() if v is not ABSENT} for change in changes]
    return [setting.key for setting in settings_of(configs, named).shown]


def test_what_is_alike_is_not_shown() -> None:
    assert shown([{"optimizer.lr": 0.1}, {"optimizer.lr": 0.3}]) == ["optimizer.lr"]
    assert shown([{}, {}]) == []
    assert shown([{}]) == []


def test_name_folder_and_seed_are_of_the_run() -> None:
    runs = [{"name": f"n{i}", "folder": f"f{i}", "seed": i, "data.seed": i} for i in range(2)]
    assert shown(runs, [["seed=0"], ["seed=1"]]) == []


def test_a_seed_of_its_own_is_a_setting() -> None:
    assert shown([{"seed": 1, "data.seed": 5}, {"seed": 2, "data.seed": 6}], [[], []]) == ["data.seed"]


def test_different_defaults_under_the_same_command_line_are_shown() -> None:
    runs = [{"optimizer.lr": 0.3}, {"optimizer.lr": 0.3, "trainer.max_epochs": 10}]
    assert shown(runs, [["optimizer.lr=0.3"], ["optimizer.lr=0.3"]]) == ["trainer.max_epochs"]


def test_a_default_that_changed_along_with_a_named_key_is_shown_too() -> None:
    """Two runs: each key tells the other, but neither follows from the other."""
    runs = [{"optimizer.lr": 0.1, "trainer.max_epochs": 3}, {"optimizer.lr": 0.3, "trainer.max_epochs": 10}]
    assert shown(runs, [["optimizer.lr=0.1"], ["optimizer.lr=0.3"]]) == ["optimizer.lr", "trainer.max_epochs"]


def test_a_key_that_repeats_another_is_hidden() -> None:
    runs = [{"data.resize": n, "model.image_size": n} for n in (28, 32)]
    assert shown(runs, [["data.resize=28"], ["data.resize=32"]]) == ["data.resize"]
    assert shown(runs, [[], []]) == ["data.resize"]
    assert shown(runs, [["model.image_size=28"], ["model.image_size=32"]]) == ["model.image_size"]
    settings = settings_of([BASE | run for run in runs], [[], []])
    assert settings.following == {"model.image_size": "data.resize"}
    assert [setting.key for setting in settings.hidden] == ["model.image_size"]
    folders = [{"data.dir": f"data/{n}", "data.cache_dir": f"data/{n}/.decoded"} for n in "ab"]
    assert shown(folders, [[], []]) == ["data.dir"]


def test_what_a_group_choice_brings_along_is_hidden() -> None:
    adam = {
        "optimizer._target_": "torch.optim.AdamW",
        "optimizer.lr": 0.001,
        "optimizer.momentum": ABSENT,
        "optimizer.eps": 1e-8,
    }
    assert shown([{}, adam], [["optimizer=sgd"], ["optimizer=adamw"]]) == ["optimizer._target_"]
    # The rate is named as well: then it is shown.
    named = [["optimizer=sgd"], ["optimizer=adamw", "optimizer.lr=0.001"]]
    assert shown([{}, adam], named) == ["optimizer._target_", "optimizer.lr"]
    # Nobody chose the group: a rate that both have may have changed for another reason.
    assert shown([{}, adam], [[], []]) == ["optimizer._target_", "optimizer.lr"]
    # A default within one choice that is not the same in all runs does not follow from the choice.
    other = adam | {"optimizer.eps": 1e-6}
    assert shown([{}, adam, other], [["optimizer=sgd"], *[["optimizer=adamw"]] * 2]) == [
        "optimizer._target_",
        "optimizer.eps",
    ]


def test_a_class_that_is_switched_off() -> None:
    runs = [{"trainer.profiler": None}, {"trainer.profiler._target_": "a.Simple", "trainer.profiler.dirpath": "x"}]
    settings = settings_of([BASE | run for run in runs], [[], []])
    assert [(s.title, s.shown(0), s.shown(1)) for s in settings.shown] == [("profiler", "null", "Simple")]


def test_titles_are_as_short_as_they_can_be() -> None:
    runs = [
        {"optimizer.lr": n, "model.dropout": n, "data.dropout": n + 1, "model._target_": f"nets.Net{n}"} for n in (1, 2)
    ]
    settings = settings_of([BASE | run for run in runs], [list(run) for run in runs])
    assert [s.title for s in settings.shown] == ["model", "lr", "model.dropout", "data.dropout"]
    assert settings.shown[0].shown(1) == "Net2"


def test_classes_of_one_name_are_told_apart() -> None:
    runs = [{"model._target_": "a.Net"}, {"model._target_": "b.Net"}]
    setting = settings_of([BASE | run for run in runs], [[], []]).shown[0]
    assert (setting.shown(0), setting.shown(1)) == ("a.Net", "b.Net")


def test_values_of_different_types_differ() -> None:
    """limit_train_batches=1 is one batch, 1.0 all of them."""
    values = [1, 1.0, True, "1", [1], [1.0], None, ABSENT, "null"]
    assert len({identity(value) for value in values}) == len(values)
    for one, other in [(1, 1.0), ([1], [1.0]), (1, True), (None, "null"), (float("nan"), 0.0)]:
        assert shown([{"trainer.limit": one}, {"trainer.limit": other}]) == ["trainer.limit"]
    assert shown([{"trainer.limit": float("nan")}] * 2) == []


def test_references_of_a_run_that_never_began_are_followed() -> None:
    config = {"data": {"resize": 28, "dir": "d"}, "model": {"size": "${data.resize}", "again": "${model.size}"}}
    config |= {"cache": "${data.dir}/x", "time": "${now:%Y}", "lost": "${no.where}"}  # type: ignore[dict-item]
    leaves = resolved(flat(config))
    assert (leaves["model.size"], leaves["model.again"], leaves["cache"]) == (28, 28, "d/x")
    assert (leaves["time"], leaves["lost"]) == ("${now:%Y}", "${no.where}")
    assert resolved({"a": "${a}", "b": "${c}", "c": "${b}"}).keys() == {"a", "b", "c"}


VALUES = st.sampled_from([0, 1, 1.0, "a", "ab", None, True, [1], ABSENT])
KEYS = ["data.x", "data._target_", "model.x", "model.y", "optimizer._target_", "optimizer.x", "top"]


@given(
    st.lists(st.fixed_dictionaries(dict.fromkeys(KEYS, VALUES)), min_size=1, max_size=5),
    st.lists(st.sampled_from(["data=a", "model.x=1", "optimizer=b", "+top=1"]), max_size=2),
)
def test_the_settings_shown_tell_runs_apart_that_differ(rows: list[dict[str, Any]], named: list[str]) -> None:
    """Runs with equal settings shown have equal settings altogether, but for what follows; nothing gets lost."""
    configs = [{k: v for k, v in row.items() if v is not ABSENT} for row in rows]
    settings = settings_of(configs, [named] * len(rows))
    keys = {s.key for s in settings.shown} | {s.key for s in settings.hidden}
    assert settings.following.keys() == {s.key for s in settings.hidden}
    assert not set(settings.following) & {text.lstrip("+").split("=")[0] for text in named}
    for i in range(len(rows)):
        for j in range(i):
            alike = all(s.identities[i] == s.identities[j] for s in settings.shown)
            assert not alike or all(s.identities[i] == s.identities[j] for s in settings.hidden), keys
