"""Every file of conf/ composes with the others, passes the check, and says what it is."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from imgclf.build import built
from imgclf.cli import compose

CONF = Path(__file__).parents[2] / "conf"
GROUPS = ("data", "model", "optimizer", "schedule", "trainer", "callbacks", "logger", "debug", "experiment", "search")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def choices(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("override", [f"{group}={choice}" for group in GROUPS for choice in choices(group)])
def test_each_choice_composes_and_passes_the_check(override: str, tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "c").mkdir()
    needed = {"data=image_folder": ["data.dir=a"], "data=arrays": ["data.file=x", "data.num_classes=2"]}
    assert compose([override, "seed=7", *needed.get(override, [])]).seed == 7


@pytest.mark.parametrize("figure", choices("figure"))
def test_each_figure_composes_and_passes_the_check(figure: str) -> None:
    if figure != "features":  # of a trained network: tests/scripts
        assert "figure" in compose([f"figure={figure}"], "figures")


@pytest.mark.parametrize("model", choices("model"))
def test_each_network_can_be_built_and_follows_the_data(model: str) -> None:
    config = compose([f"model={model}", "data.num_classes=12", "data.in_channels=3", "data.resize=67"])
    net = built(config, "model", optimizer=built(config, "optimizer"))
    assert net.input_shape[1:] == (3, 67, 67)
    assert net.num_classes == 12


@pytest.mark.parametrize("file", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_choice_of_a_ready_sweep_passes_the_check(file: Path) -> None:
    params = OmegaConf.load(file).get("hydra", {}).get("sweeper", {}).get("params", {})
    for key, choice in ((key, choice) for key, several in params.items() for choice in str(several).split(",")):
        config = compose([f"experiment={file.stem}", f"{key}={choice}"])
        assert key.startswith("+") or str(OmegaConf.select(config, key)).lower() == choice


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        # What the chapter plots, at epochs 0, 1, 5, 15, 20 and 29, worked out by hand.
        ("constant", [0.3] * 6),
        ("square_root", [0.1, 0.0707107, 0.0408248, 0.025, 0.0218218, 0.0182574]),
        ("factor", [0.5, 0.45, 0.295245, 0.102946, 0.0607883, 0.0235506]),
        ("multi_step", [0.5, 0.5, 0.5, 0.25, 0.25, 0.25]),
        ("cosine", [0.3, 0.298215, 0.257530, 0.0524695, 0.01, 0.01]),
        ("warmup_cosine", [0.0, 0.06, 0.3, 0.0825, 0.01, 0.01]),
        ("polynomial", [0.3, 0.280333, 0.208333, 0.075, 0.0333333, 0.000333333]),
    ],
)
def test_the_chapters_schedules_have_the_chapters_rates(name: str, rates: list[float]) -> None:
    config = compose(["experiment=lenet_schedules", f"+experiment/lenet_schedules={name}"])
    schedule, scale = built(config, "schedule"), config.optimizer.lr
    found = [scale * schedule.curve(update, config.trainer.max_epochs) for update in (0, 1, 5, 15, 20, 29)]
    assert found == pytest.approx(rates, rel=1e-4)


def test_each_group_file_begins_with_a_line_that_says_what_it_is() -> None:
    for file in CONF.glob("*/*.yaml"):
        first = next(line for line in file.read_text().splitlines() if not line.startswith("# @package"))
        assert first.startswith("# "), file
