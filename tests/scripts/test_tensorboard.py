"""A run and a sweep on TensorBoard's pages, in a real browser."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import PROGRAM, Browser
from conftest import Doors
from numpy.typing import NDArray
from PIL import Image
from run_files import metrics, table

from imgclf.pictures.lettering import BLUE, VERMILLION

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed: apt-get install -y chromium")

RUN = ("trainer.max_epochs=3", "data.batch_size=500", "trainer.log_every_n_steps=6", "callbacks=[pictures,histograms]")
SWEEP = ("-m", "optimizer.lr=0.02,0.3", "trainer.max_epochs=3", "data.batch_size=500", "callbacks=bare")


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Path:
    """The folders ``run`` and ``sweep``."""
    folder = tmp_path_factory.mktemp("logs")
    for arguments in ((*RUN, "hydra.run.dir=run"), (*SWEEP, "hydra.sweep.dir=sweep")):
        doors(folder)("train.py", *arguments)
    return folder


@contextlib.contextmanager
def board(folder: Path) -> Iterator[str]:
    """The address of a TensorBoard of a folder."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--port", "0", "--host", "127.0.0.1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            said = ""
            for line in process.stderr:
                said += line
                if found := re.search(r"TensorBoard .* at (http://\S+)", line):
                    yield found[1]
                    break
            else:
                raise AssertionError(said)
        finally:
            process.terminate()


def pixels(browser: Browser, file: Path) -> NDArray[np.int64]:
    """What the page looks like, (height, width, 3)."""
    return np.asarray(Image.open(browser.screenshot(file)).convert("RGB")).astype(int)


def count(page: NDArray[np.int64], colour: tuple[int, int, int]) -> int:
    """Pixels of a colour."""
    return int((np.abs(page - colour).max(axis=2) <= 3).sum())


def run_colours(browser: Browser) -> list[tuple[int, int, int]]:
    """The colour of each run, as the list of runs shows it."""
    texts = browser.find("button.run-color-swatch", "found.map(x => getComputedStyle(x).backgroundColor)")
    return [tuple(map(int, re.findall(r"\d+", text)[:3])) for text in texts]  # type: ignore[misc]


def charts(browser: Browser, page: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The parts of the page that charts take, without the tables below them."""
    sides = "found.map(x => x.getBoundingClientRect()).map(b => [b.top, b.bottom, b.left, b.right])"
    boxes = browser.find("line-chart", sides)
    return [page[int(top) : int(bottom), int(left) : int(right)] for top, bottom, left, right in boxes]


def test_a_run_has_its_curves_pictures_and_texts(logs: Path, tmp_path: Path) -> None:
    last = table(logs / "run")[-1]
    with board(logs / "run") as url, Browser(1400, 2600, tmp_path / "profile") as browser:
        # A page has room for twelve cards.
        browser.open(f"{url}?tagFilter=^(accuracy|loss|rate|speed|gradient)/#timeseries")
        tags = ("accuracy/train", "accuracy/val", "loss/train", "loss/val", "rate/lr", "rate/planned", "gradient/norm")
        values = [f"{float(last[name]):.4g}" for name in ("train/acc", "val/acc", "train/loss", "val/loss")]
        browser.wait_for(*tags, "loss/train_steps", "speed/images_per_second", *values)

        browser.open(f"{url}#images&tagFilter=.")
        names = ("activations", "inputs/train", "inputs/validation", "schedule", "validation/confusion")
        browser.wait_for(*names, "validation/accuracy_by_class", "validation/mistakes")
        loaded = "found.filter(image => image.naturalWidth > 400).length"
        browser.wait_until(lambda: browser.find("img", loaded) >= 7, "seven pictures")
        page = pixels(browser, tmp_path / "images.png")
        assert count(page, BLUE) > 2000  # bars and the diagonal
        assert count(page, VERMILLION) > 50  # captions of mistakes, the slope of the activation function

        browser.open(f"{url}#text&tagFilter=.")
        browser.wait_for("uv run scripts/train.py", "trainer.max_epochs=3", "pytorch-lightning", "hidden_sizes:")

        browser.open(f"{url}#graphs")
        browser.wait_for("Main Graph", "Sequential")


def test_a_sweep_is_rows_columns_and_overlaid_curves(logs: Path, tmp_path: Path) -> None:
    jobs = [metrics(logs / "sweep" / f"optimizer.lr@{rate}") for rate in ("0.02", "0.3")]
    with board(logs / "sweep") as url, Browser(1400, 1000, tmp_path / "profile") as browser:
        browser.open(f"{url}#hparams")
        accuracies = [f"{job['test/acc']:.5f}" for job in jobs]
        shown = browser.wait_for("optimizer.lr", "accuracy/test", "loss/val", "0.020000", "0.30000", *accuracies)
        assert "Number of matching session groups: 2" in shown
        assert "_target_" not in shown

        browser.open(f"{url}?tagFilter=/val$#timeseries")
        values = [f"{job['val/acc']:.4g}" for job in jobs] + [f"{job['val/loss']:.4g}" for job in jobs]
        browser.wait_for("accuracy/val", "loss/val", *values)
        colours = run_colours(browser)
        assert len(set(colours)) == 2

        def has_curves() -> bool:
            found = charts(browser, pixels(browser, tmp_path / "curves.png"))
            return len(found) == 2 and all(count(chart, colour) > 40 for chart in found for colour in colours)

        browser.wait_until(has_curves, "two curves in each of two charts")
