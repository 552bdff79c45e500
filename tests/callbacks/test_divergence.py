"""Training stops, and says so, when its loss is no number any more; nothing that was learnt before is lost."""

import re
from pathlib import Path

import torch
from conftest import Door
from run_files import metrics, run_json, table

QUICK = ("logger=none", "data.batch_size=1000", "trainer.max_epochs=4")


def test_in_the_first_epoch(door: Door, tmp_path: Path) -> None:
    told = door("train.py", *QUICK, "optimizer.lr=1e30", "hydra.run.dir=run", expect=2).stderr
    assert told.count("error: ") == 1
    assert "Traceback" not in told
    assert re.search(r"error: .* (nan|inf) in epoch 1 of 4 .*1 to 9, .*1e\+30.*optimizer\.lr.*gradient_clip_val", told)
    assert told.count("epoch 2/4") == 0
    run = tmp_path / "run"
    assert not list((run / "checkpoints").glob("*")), "no weights that are no numbers"
    assert run_json(run)["outcome"] == "diverged"
    assert "training loss became nan" in run_json(run)["error"]
    assert not (run / "error.txt").exists()
    assert metrics(run)["train/loss"] is None


def test_later_the_epochs_before_are_kept_and_can_be_gone_on_from(door: Door, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(
        "from pytorch_lightning import Callback\n"
        "class Late(Callback):\n"
        "    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):\n"
        "        if trainer.current_epoch == 2 and trainer.gradient_clip_val is None:\n"
        "            trainer.optimizers[0].param_groups[0]['lr'] = 1e30\n"
    )
    own, run = {"PYTHONPATH": str(tmp_path)}, tmp_path / "run"
    late = "+callbacks.late._target_=late.Late"
    told = door("train.py", *QUICK, late, "hydra.run.dir=run", expect=2, **own).stderr
    assert "nan in epoch 3 of 4 (optimizer steps 19 to 27, " in told
    assert "resume=" in told
    assert [row["train/loss"] == "nan" for row in table(run)] == [False, False, True]
    for name in ("last", "best"):
        content = torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert content["epoch"] == 1
        assert all(bool(tensor.isfinite().all()) for tensor in content["state_dict"].values())
    assert metrics(run)["epochs"] == 2
    assert metrics(run)["best/val/acc"] > 0.5

    door("train.py", "resume=run", "trust=[late.]", "trainer.gradient_clip_val=1.0", **own)
    assert metrics(run)["epochs"] == 4
    assert run_json(run)["outcome"] == "finished"


def test_a_sweep_has_a_row_for_it_and_goes_on(door: Door) -> None:
    given = ("trainer.max_epochs=1", "optimizer.lr=1e30,0.1", "hydra.sweep.dir=sweep")
    done = door("train.py", "-m", *QUICK, *given)
    assert "the training loss became nan in epoch 1" in done.stderr
    assert "2 of 2 jobs finished" in done.stdout
    assert re.search(r"optimizer\.lr@1e\+30 +diverged +", done.stdout), done.stdout
    assert "2 finished before" in door("train.py", "-m", "sweep.resume=sweep").stdout
