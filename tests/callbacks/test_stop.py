"""Runs that end inside an epoch (of 36 batches), or as their loss is no number any more."""

import re
from pathlib import Path

import pytest
import torch
from conftest import Door
from run_files import metrics, run_json, table, weights


@pytest.mark.slow
def test_a_run_cut_off_by_its_steps_has_figures_of_its_own_and_goes_on(door: Door, tmp_path: Path) -> None:
    given = ("train.py", "callbacks=bare", "logger=none", "trainer.max_epochs=2")
    door(*given, "+trainer.max_steps=50", "hydra.run.dir=cut")
    reached = metrics(tmp_path / "cut")
    first, second = table(tmp_path / "cut")
    assert (first["step"], second["step"]) == ("36", "50")
    assert first["train/loss"] != second["train/loss"]
    assert first["val/loss"] != second["val/loss"]
    assert reached["epochs"] == 2
    assert reached["train/loss"] == float(second["train/loss"])
    door(*given, "hydra.run.dir=whole")
    door("train.py", "resume=cut", "trainer.max_steps=72")
    assert table(tmp_path / "cut") == table(tmp_path / "whole")
    cut, whole = weights(tmp_path / "cut"), weights(tmp_path / "whole")
    assert all(torch.equal(cut[name], whole[name]) for name in whole)
    door(*given, "retrain_on_all=true", "+trainer.max_steps=9", "hydra.run.dir=all")
    door("train.py", "resume=all", "trainer.max_steps=45")
    assert metrics(tmp_path / "all")["epochs"] == 2


@pytest.mark.slow
def test_the_best_validation_within_an_epoch_keeps_its_weights_and_figures(door: Door, tmp_path: Path) -> None:
    given = ("train.py", "callbacks=bare", "logger=none", "trainer.max_epochs=2", "model.dropout=0.2")
    door(*given, "+trainer.val_check_interval=10", "hydra.run.dir=run")
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["global_step"]
    assert best not in (36, 72)  # or another seed is needed, where the best is within an epoch
    door(*given, f"+trainer.max_steps={best}", "hydra.run.dir=cut")
    reached, cut = metrics(tmp_path / "run"), metrics(tmp_path / "cut")
    assert (cut["val/acc"], cut["val/loss"]) == (reached["best/val/acc"], reached["best/val/loss"])
    one, other = weights(tmp_path / "run", "best"), weights(tmp_path / "cut")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_loss_that_is_no_number_ends_the_run_and_no_such_weights_are_kept(door: Door, tmp_path: Path) -> None:
    settings = ("logger=none", "data.batch_size=1000", "trainer.max_epochs=4", "optimizer.lr=1e30")
    told = door("train.py", *settings, "callbacks.checkpoint.every_n_steps=1", "hydra.run.dir=run", expect=2).stderr
    assert (told.count("error: "), "Traceback" in told) == (1, False)
    assert re.search(r"error: .* (nan|inf) in epoch 1 .*1e\+30.*optimizer\.lr.*gradient_clip_val", told)
    run = tmp_path / "run"
    assert [file.name for file in (run / "checkpoints").glob("*")] == ["last.ckpt"]
    assert all(torch.isfinite(tensor).all() for tensor in weights(run).values())
    assert run_json(run)["outcome"] == "diverged"
    assert "training loss became nan" in run_json(run)["error"]
    assert not (run / "error.txt").exists()
    assert metrics(run)["train/loss"] is None


def test_later_the_epochs_before_are_kept_and_can_be_gone_on_from(door: Door, tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text(
        "from pytorch_lightning import Callback\n"
        "from imgclf.models.mlp import MLP\n"
        "class Own(MLP):\n"
        "    def on_train_epoch_end(self):\n"
        "        self.log('at', float(self.current_epoch))\n"
        "class Late(Callback):\n"
        "    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):\n"
        "        if trainer.current_epoch == 2 and trainer.gradient_clip_val is None:\n"
        "            trainer.optimizers[0].param_groups[0]['lr'] = 1e30\n"
    )
    own, run = {"PYTHONPATH": str(tmp_path)}, tmp_path / "run"
    given = ("logger=none", "data.batch_size=1000", "trainer.max_epochs=4", "model._target_=late.Own")
    told = door("train.py", *given, "+callbacks.late._target_=late.Late", "hydra.run.dir=run", expect=2, **own).stderr
    assert "nan in epoch 3 (learning rate " in told
    assert f"resume={run}" in told
    assert [row["train/loss"] == "nan" for row in table(run)] == [False, False, True]
    assert ([row["at"] for row in table(run)], metrics(run)["best/at"]) == (["0.0", "1.0", "2.0"], 1.0)
    for name in ("last", "best"):
        assert torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["epoch"] == 1
        assert all(bool(tensor.isfinite().all()) for tensor in weights(run, name).values())
    assert metrics(run)["epochs"] == 2
    assert metrics(run)["best/val/acc"] > 0.5
    more = ("trainer.gradient_clip_val=1.0", "trainer.num_sanity_val_steps=1")
    door("train.py", "resume=run", "trust=[late.]", *more, **own)
    assert (metrics(run)["epochs"], run_json(run)["outcome"]) == (4, "finished")
