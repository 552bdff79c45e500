"""A run that is killed at any moment, again and again, comes to the very numbers of an undisturbed one.

The moments are drawn by a seed, the same in each run of the tests: ``IMGCLF_KILL_SEED=N`` draws others, and
``IMGCLF_KILLS=30`` kills each case so often.
"""

import hashlib
import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Door, Undisturbed
from own import OWN, network, stopping
from run_files import metrics, run_json, table

pytestmark = pytest.mark.slow
SEED = int(os.environ.get("IMGCLF_KILL_SEED", "2026"))
EXACT = "trainer.precision=32-true"
COMMON = (EXACT, "data.augment=pad_crop_flip", "optimizer.momentum=0.9", "trainer.accumulate_grad_batches=2")
CASES = {  # how often a run is killed where no number is given, and its arguments
    "one process, schedule by batch, ema, early stopping, checkpoints by step": (
        *(5, "trainer.max_epochs=6", "model.dropout=0.3"),
        *("schedule=cosine", "schedule.interval=batch", "schedule.warmup_updates=20"),
        *("callbacks=[ema,early_stopping]", "callbacks.ema.decay=0.9", "callbacks.checkpoint.every_n_steps=7"),
        *("callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=0.2"),  # before the last epoch
    ),
    "two processes, batch normalisation, swa": (
        *(1, "trainer=ddp_cpu", "trainer.max_epochs=3", "data.batch_size=500", *network("Normed")),
        *("callbacks=swa", "callbacks.swa.start_epoch=1"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_killed_again_and_again(case: str, door: Door, tmp_path: Path, undisturbed: Undisturbed) -> None:
    usual, *rest = CASES[case]
    given, draws, run = (*COMMON, *rest), random.Random(SEED), tmp_path / "run"
    print(f"IMGCLF_KILL_SEED={SEED}")
    several, last = "trainer=ddp_cpu" in given, run / "checkpoints" / "last.ckpt"
    for _ in range(int(os.environ.get("IMGCLF_KILLS", usual))):
        kind, name, to_parent = draws.choice(["step", "files"]), draws.choice(["SIGKILL", "SIGTERM", "SIGINT"]), False
        when: dict[str, Any] = {kind: draws.randint(1, 40)}
        if kind == "step" and last.exists():
            when = {"step": torch.load(last, weights_only=True)["global_step"] + draws.randint(1, 20)}
        if several:
            to_parent = draws.choice([True, False])
            when |= {"to_parent": to_parent, "rank": draws.choice([0, 1]) if kind == "step" else 0}
        stop = stopping(tmp_path / "armed", name, **when)
        more, begun = ("resume=run", "trust=[own.]", "~callbacks.stop"), (run / "run.json").exists()
        typed = (*more, stop) if begun else (*given, stop, "hydra.run.dir=run")
        done = door("train.py", *typed, expect=None, fresh=several, **OWN)  # which waits for all processes of the run
        number, story = signal.Signals[name], f"{typed}: {done.returncode}\n{done.stdout}{done.stderr}"
        print(story)
        end = (-number, "running") if number == signal.SIGKILL else (128 + number, "interrupted")
        if number == signal.SIGKILL and several and not to_parent:
            end = (1, "failed")
        if (run / "metrics.json").exists():
            assert done.returncode in (0, 128 + number, -number), story
            break
        assert (done.returncode, run_json(run)["outcome"]) == end, story
    if not (run / "metrics.json").exists():
        done = door("train.py", *more, **OWN)
    whole = undisturbed(*given, **OWN)
    assert (metrics(run), table(run)) == (metrics(whole), table(whole))
    for checkpoint in ("last", "best"):
        assert state(run, checkpoint).splitlines() == state(whole, checkpoint).splitlines()
    held = torch.load(last, weights_only=True)  # the mean, beside the weights of the last step
    assert any(not torch.equal(value, held["current_model_state"][name]) for name, value in held["state_dict"].items())
    assert done.returncode == -signal.SIGKILL or not list(run.rglob("*.tmp"))  # finished, and killed thereafter
    # Of several processes all have tested one network, though each measures statistics of batches for itself.
    tested, found = door("evaluate.py", "run=run", "trust=[own.]", "trainer=cpu", EXACT, **OWN).stdout, metrics(run)
    assert f"{found['test/loss']:.4f}    {found['test/acc']:.4f}" in tested


def state(folder: Path, name: str) -> str:
    """All that a checkpoint holds, bit for bit, but the clock's figures and Lightning's counters of its place."""
    found = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
    found["callbacks"] = {key: value for key, value in found["callbacks"].items() if not key.startswith("Throughput")}
    found.pop("loops")
    digest = lambda tensor: f"{tensor.dtype} {hashlib.sha256(tensor.numpy().tobytes()).hexdigest()}"  # noqa: E731
    return json.dumps(found, default=digest, indent=1, sort_keys=True)
