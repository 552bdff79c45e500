"""Training stops, and says so, when its loss is no number any more; nothing that was learnt before is lost."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch
from refused import run_here

QUICK = "logger=none data.batch_size=1000 trainer.max_epochs=4"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_in_the_first_epoch(here: Path) -> None:
    answer = run_here(f"train.py {QUICK} optimizer.lr=1e30 hydra.run.dir=run")
    assert answer.code == 2
    assert answer.err.count("error: ") == 1
    assert "Traceback" not in answer.err
    told = (
        r"error: the training loss became (nan|inf) in epoch 1 of 4 \(optimizer steps 1 to 9, learning rate 1e\+30\)\. "
    )
    assert re.search(told + r"Lower optimizer\.lr, begin with .*\.gradient_clip_val=1\.0\.", answer.err)
    assert answer.err.count("epoch 2/4") == 0
    assert not list((here / "run" / "checkpoints").glob("*")), "no weights that are no numbers"
    run = json.loads((here / "run" / "run.json").read_text())
    assert run["outcome"] == "diverged"
    assert "training loss became nan" in run["error"]
    assert not (here / "run" / "error.txt").exists()
    assert json.loads((here / "run" / "metrics.json").read_text())["train/loss"] is None


def test_later_the_epochs_before_are_kept_and_can_be_gone_on_from(here: Path) -> None:
    (here / "late.py").write_text(
        "from pytorch_lightning import Callback\n"
        "class Late(Callback):\n"
        "    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):\n"
        "        if trainer.current_epoch == 2 and trainer.gradient_clip_val is None:\n"
        "            trainer.optimizers[0].param_groups[0]['lr'] = 1e30\n"
    )
    answer = run_here(f"train.py {QUICK} +callbacks.late._target_=late.Late hydra.run.dir=run")
    assert answer.code == 2, answer.err
    assert "the training loss became nan in epoch 3 of 4 (optimizer steps 19 to 27, " in answer.err
    assert "resume=" in answer.err
    with (here / "run" / "metrics.csv").open(newline="") as file:
        assert [row["train/loss"] == "nan" for row in csv.DictReader(file)] == [False, False, True]
    for name in ("last", "best"):
        content = torch.load(here / "run" / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert content["epoch"] == 1
        assert all(bool(tensor.isfinite().all()) for tensor in content["state_dict"].values())
    metrics = json.loads((here / "run" / "metrics.json").read_text())
    assert metrics["epochs"] == 2
    assert metrics["best/val/acc"] > 0.5

    answer = run_here("train.py resume=run trust=[late.] trainer.gradient_clip_val=1.0")
    assert answer.code == 0, answer.err
    assert json.loads((here / "run" / "metrics.json").read_text())["epochs"] == 4
    assert json.loads((here / "run" / "run.json").read_text())["outcome"] == "finished"


def test_a_sweep_has_a_row_for_it_and_goes_on(here: Path) -> None:
    answer = run_here(f"train.py -m {QUICK} trainer.max_epochs=1 optimizer.lr=1e30,0.1 hydra.sweep.dir=sweep")
    assert answer.code == 0, answer.err
    assert "the training loss became nan in epoch 1" in answer.err
    assert "2 of 2 jobs finished" in answer.out
    assert re.search(r"optimizer\.lr@1e\+30 +diverged +no number: train/loss, val/loss", answer.out, re.MULTILINE), (
        answer.out
    )
    again = run_here("train.py -m sweep.resume=sweep")
    assert again.code == 0, again.err
    assert "2 finished before" in again.out
