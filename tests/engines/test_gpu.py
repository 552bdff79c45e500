"""What only a GPU can show: ``uv run pytest -m gpu``, or scripts/gpu_check.sh for all of it."""

import re
from pathlib import Path

import made_up
import pytest
import torch
from conftest import Door, quiet_trainer
from run_files import assert_same, metrics, run_json

import imgclf
from imgclf.build import built

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")]
SHORT = ("trainer.max_epochs=2", "logger=none")
CONVOLUTIONS = ("model=resnet18", "data.augment=pad_crop_flip", "trainer.limit_train_batches=20")


def test_the_default_run_trains_on_it_and_can_be_used_elsewhere(door: Door, tmp_path: Path) -> None:
    door("train.py", *SHORT, "hydra.run.dir=run")
    found = metrics(tmp_path / "run")
    assert (run_json(tmp_path / "run")["device"], found["test/acc"] > 0.7) == ("cuda", True)

    on_cpu = door("evaluate.py", "run=run", "trainer=cpu").stdout
    ((loss, acc),) = re.findall(r"^test +([\d.]+) +([\d.]+)$", on_cpu, re.MULTILINE)
    assert [float(loss), float(acc)] == pytest.approx([found["test/loss"], found["test/acc"]], abs=0.01)

    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(made_up.png(number))
    door("predict.py", "run=run", "images=.")
    assert len(next((tmp_path / "run" / "predicted").rglob("*.csv")).read_text().splitlines()) == 4


def test_the_same_seed_gives_the_same_numbers(door: Door, tmp_path: Path) -> None:
    for name in ("run", "again"):
        door("train.py", *SHORT, *CONVOLUTIONS, "trainer.deterministic=true", f"hydra.run.dir={name}")
    assert_same(tmp_path / "run", tmp_path / "again")


@pytest.mark.parametrize("resident", ["auto", "false"])
def test_images_lie_in_its_memory_unless_told_otherwise(resident: str) -> None:
    data = built(imgclf.compose([f"data.resident={resident}"]), "data")
    data.trainer = quiet_trainer(accelerator="gpu", devices=1)
    data.setup("fit")
    assert data.train_set.images.device.type == ("cuda" if resident == "auto" else "cpu")
