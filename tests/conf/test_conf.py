"""Every configuration file composes, passes the check, instantiates and, where it can, trains two batches."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from board_files import Board
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from imgclf.benchmark.made_up import competition
from imgclf.config.check import check
from imgclf.config.door import SUPPLIED
from imgclf.run.build import built
from imgclf.run.freeze import frozen, thawed
from imgclf.run.processes import process_count
from imgclf.run.training import fit_and_test
from imgclf.run_folder import RunFolder

CONF = Path(__file__).parents[2] / "conf"
HAS_GPU = torch.cuda.is_available()
FULL_DATA = Path("/usr/share/datasets/fashion-mnist").is_dir()


def choices(group: str) -> list[str]:
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


@pytest.fixture
def composed(tmp_path: Path) -> Iterator[type]:
    """Compose as scripts/train.py does, with the run folder in tmp_path."""

    class Composer:
        def __new__(cls, *overrides: str) -> DictConfig:  # type: ignore[misc]
            config = compose("train", [*overrides, f"hydra.run.dir={tmp_path}"], return_hydra_config=True)
            config.hydra.runtime.output_dir = str(tmp_path)
            HydraConfig.instance().set_config(config)
            folder = RunFolder(tmp_path)
            plain = OmegaConf.masked_copy(config, [k for k in config if k != "hydra"])
            folder.write_config(frozen(plain))
            check(thawed(folder), SUPPLIED)
            return thawed(folder)

    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield Composer
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


def train_two_batches(config: DictConfig) -> dict[str, float]:
    limits = {f"limit_{stage}_batches": 2 for stage in ("train", "val", "test")}
    config.trainer = OmegaConf.merge(config.trainer, {"max_epochs": 1} | limits)
    return fit_and_test(config, RunFolder(config.folder), resume=False)


@pytest.mark.parametrize("schedule", choices("schedule"))
@pytest.mark.parametrize("interval", ["epoch", "batch"])
def test_schedules(composed: type, schedule: str, interval: str) -> None:
    settings = f"schedule={schedule}", f"schedule.interval={interval}", "data.batch_size=64"
    assert train_two_batches(composed(*settings))["epochs"] == 1


@pytest.mark.parametrize("optimizer", choices("optimizer"))
def test_optimizers(composed: type, optimizer: str) -> None:
    assert train_two_batches(composed(f"optimizer={optimizer}"))["train/loss"] > 0


@pytest.mark.parametrize("model", choices("model"))
def test_models(composed: type, model: str) -> None:
    sizes = {"nin": 67, "alexnet": 63, "vgg11": 32}  # the others take the images' own size
    batches = "data.batch_size=8", "data.eval_batch_size=8"
    config = composed(f"model={model}", *batches, f"data.resize={sizes.get(model, 28)}")
    assert 0 <= train_two_batches(config)["test/acc"] <= 1


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the competition's form with 40 training and 2 test images."""
    folder = tmp_path_factory.mktemp("kaggle") / "cifar-10"
    competition(folder, train=40, test=2)
    return folder


@pytest.mark.parametrize("data", choices("data"))
def test_data(composed: type, data: str, kaggle: Path) -> None:
    if data == "fashion_mnist" and not FULL_DATA:
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    options = [f"data.dir={kaggle}", "data.batch_size=8"] if data == "kaggle_cifar10" else []
    assert 0 <= train_two_batches(composed(f"data={data}", *options))["val/acc"] <= 1


@pytest.mark.parametrize("callbacks", choices("callbacks"))
@pytest.mark.parametrize("logger", choices("logger"))
def test_callbacks_and_loggers(composed: type, callbacks: str, logger: str, tmp_path: Path) -> None:
    settings = ["callbacks.swa.start_epoch=0"] if callbacks == "swa" else []
    train_two_batches(composed(f"callbacks={callbacks}", f"logger={logger}", *settings))
    assert (tmp_path / "metrics.csv").exists()
    assert (tmp_path / "checkpoints" / "best.ckpt").exists() == (callbacks != "evaluation")
    assert bool(list(tmp_path.glob("events.out.tfevents.*"))) == (logger == "tensorboard")
    if logger == "tensorboard":
        has_pictures = "validation/confusion" in Board(tmp_path).tags["images"]
        assert has_pictures == (callbacks not in ("bare", "evaluation"))


@pytest.mark.parametrize("trainer", choices("trainer"))
def test_trainers(composed: type, trainer: str) -> None:
    config = composed(f"trainer={trainer}")
    if trainer == "ddp_cpu":
        assert process_count(config.trainer) == 2
        return  # tests/scripts runs it, in two processes
    if trainer in ("gpu", "ddp") and not HAS_GPU:
        pytest.skip("no GPU on this machine")
    assert train_two_batches(config)["epochs"] == 1


@pytest.mark.parametrize("debug", choices("debug"))
def test_debug(composed: type, debug: str, tmp_path: Path) -> None:
    config = composed(f"debug={debug}", *(["trainer.max_epochs=2"] if debug == "overfit" else []))
    fit_and_test(config, RunFolder(config.folder), resume=False)
    if debug == "profile":
        assert "run_training_batch" in (tmp_path / "fit-profile.txt").read_text()


def test_overfitting_one_batch_brings_its_loss_to_nothing(composed: type) -> None:
    config = composed("debug=overfit", "data.batch_size=16", "optimizer.lr=0.1", "trainer.max_epochs=60")
    metrics = fit_and_test(config, RunFolder(config.folder), resume=False)
    assert metrics["train/loss"] < 0.05
    assert metrics["train/acc"] == 1


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_experiments(composed: type, experiment: str, kaggle: Path) -> None:
    folder = [f"data.dir={kaggle}"] if experiment.startswith("kaggle") else []
    config = composed(f"experiment={experiment}", "data.batch_size=8", "data.eval_batch_size=8", *folder)
    assert config.name == experiment
    if config.data._target_.endswith("FashionMNIST") and not FULL_DATA:
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    train_two_batches(config)


def swept() -> list[tuple[str, str, str]]:
    """(experiment, key, choice) for every choice of every sweep that an experiment brings along."""
    found = []
    for file in sorted((CONF / "experiment").glob("*.yaml")):
        params = OmegaConf.load(file).get("hydra", {}).get("sweeper", {}).get("params", {})
        found += [(file.stem, key, choice) for key, choices in params.items() for choice in str(choices).split(",")]
    return found


@pytest.mark.parametrize(("experiment", "key", "choice"), swept())
def test_every_choice_of_a_ready_sweep_can_be_built(composed: type, experiment: str, key: str, choice: str) -> None:
    plain = composed(f"experiment={experiment}")
    config = composed(f"experiment={experiment}", f"{key}={choice}")
    built(config, "model", optimizer=built(config, "optimizer"))
    built(config, "schedule")
    if not key.startswith("+"):
        assert str(OmegaConf.select(config, key)).lower() == choice
    else:
        assert (config.schedule, config.optimizer.lr) != (plain.schedule, plain.optimizer.lr)


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
def test_the_chapters_schedules_have_the_chapters_rates(composed: type, name: str, rates: list[float]) -> None:
    config = composed("experiment=lenet_schedules", f"+experiment/lenet_schedules={name}")
    schedule = built(config, "schedule")
    scale = config.optimizer.lr
    found = [scale * schedule.curve(update, config.trainer.max_epochs) for update in (0, 1, 5, 15, 20, 29)]
    assert found == pytest.approx(rates, rel=1e-4)


def test_each_group_file_begins_with_a_line_that_says_what_it_is() -> None:
    for file in CONF.glob("*/*.yaml"):
        first = next(line for line in file.read_text().splitlines() if not line.startswith("# @package"))
        assert first.startswith("# "), file


def test_the_network_follows_the_data(composed: type) -> None:
    assert composed("data.num_classes=12").model.num_classes == 12
    config = composed("data.in_channels=3", "data.resize=32")
    assert (config.model.in_channels, config.model.image_size) == (3, 32)
    assert train_two_batches(config)["epochs"] == 1
