"""A run that is killed at any moment, again and again, comes to the very numbers of an undisturbed one.

The moments are drawn by a seed, which is printed: ``IMGCLF_KILL_SEED=N`` repeats those of a run that failed, and
``IMGCLF_KILLS=30`` kills each case so often.
"""

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from run_files import metrics, run_json, table

SEED = int(os.environ.get("IMGCLF_KILL_SEED", random.SystemRandom().randrange(2**32)))
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Case:
    """A run, of so many processes, and how often it is killed where no number is given."""

    arguments: tuple[str, ...]
    processes: int
    kills: int


COMMON = (
    "data.augment=pad_crop_flip",
    "optimizer.momentum=0.9",
    "trainer.accumulate_grad_batches=2",
    "+callbacks.ticks._target_=ticks.Ticks",
)
CASES = {
    "one process, schedule by batch, ema, early stopping, checkpoints by step": Case(
        (
            *COMMON,
            "trainer.max_epochs=6",
            "model.dropout=0.3",
            "schedule=cosine",
            "schedule.interval=batch",
            "schedule.warmup_updates=20",
            "callbacks=[ema,early_stopping]",
            "callbacks.ema.decay=0.9",
            "callbacks.checkpoint.every_n_steps=7",
            "callbacks.early_stopping.patience=1",
            "callbacks.early_stopping.min_delta=0.2",  # stops it before its last epoch
        ),
        processes=1,
        kills=4,
    ),
    "two processes, batch normalisation, swa": Case(
        (
            *COMMON,
            "trainer=ddp_cpu",
            "trainer.max_epochs=3",
            "model=torchvision",
            "~model.net",
            "+model.net._target_=normed.Normed",
            "data.batch_size=500",
            "callbacks=swa",
            "callbacks.swa.start_epoch=1",
        ),
        processes=2,
        kills=2,
    ),
}


class Runner:
    """Starts one case's command in a folder, kills it, and continues it."""

    def __init__(self, place: Path, case: Case) -> None:
        self.place, self.case = place, case
        self.story = [f"IMGCLF_KILL_SEED={SEED}"]

    def start(self, *arguments: str, **plan: Any) -> tuple[int, str]:
        first = None if self.case.processes == 1 else "0"  # only which writes files
        moment = {"told": str(self.place / "told"), "rank": first, "target": "self"} | plan
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment |= {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": f"{HERE / 'moments'}{os.pathsep}{HERE / 'nets'}",
            "IMGCLF_MOMENT": json.dumps(moment),
        }
        started = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "train.py"), *arguments],
            cwd=self.place,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # a signal to all processes of a run is not one to the tests
        )
        # All processes of a run share its output, so this waits for the last of them: none may stay behind.
        output = started.communicate(timeout=300)[0]
        return started.returncode, output

    def whole(self) -> tuple[Path, dict[str, int]]:
        """A run that nothing disturbs, and how many moments of each kind it has."""
        run = self.place / "whole"
        code, output = self.start(*self.case.arguments, f"hydra.run.dir={run}", folder=str(run))
        assert code == 0, output
        return run, json.loads((self.place / "told").read_text())

    def plan(self, counts: dict[str, int], draws: random.Random, share: float) -> dict[str, Any]:
        """A moment, early enough to leave something for the kills that follow."""
        kind = draws.choice(["step", "file"])
        plan = {
            "kind": kind,
            "count": draws.randint(1, max(1, int(counts[kind] * share))),
            "signal": draws.choice(["SIGKILL", "SIGTERM", "SIGINT"]),
        }
        if self.case.processes > 1:
            plan["target"] = draws.choice(["self", "parent"])
            plan["rank"] = draws.choice(["0", "1"]) if kind == "step" else "0"
        return plan

    def kill(self, run: Path, plan: dict[str, Any]) -> None:
        command = self.command(run)
        (self.place / "told").unlink(missing_ok=True)
        code, output = self.start(*command, folder=str(run), **plan)
        was_reached = (self.place / "told").exists()
        where = (self.place / "told").read_text() if was_reached else "not reached\n"
        self.story += [" ".join(command), str(plan), where, f"-> {code}", output]
        number = signal.Signals[plan["signal"]]
        if not was_reached or (run / "metrics.json").exists():
            assert code in (0, 128 + number, -number), str(self)
        elif number != signal.SIGKILL:
            assert code == 128 + number, str(self)
            assert not run.exists() or self.outcome(run) in ("interrupted", ""), str(self)
        elif self.case.processes > 1 and plan.get("target") == "self":
            assert (code, self.outcome(run)) == (1, "failed"), str(self)
        else:
            assert code == -number, str(self)

    def command(self, run: Path) -> tuple[str, ...]:
        """What a user types: resume, or, for a run that had not begun, its command again."""
        if (run / ".hydra" / "config.yaml").exists() and self.outcome(run):
            return (f"resume={run}", "trust=[ticks.,normed.]")
        return (*self.case.arguments, f"hydra.run.dir={run}")

    def outcome(self, run: Path) -> str:
        return run_json(run)["outcome"] if (run / "run.json").exists() else ""

    def __str__(self) -> str:
        return "\n".join(self.story)


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_is_killed_again_and_again_comes_to_the_very_numbers(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    runner, draws = Runner(tmp_path, case), random.Random(SEED)
    whole, counts = runner.whole()
    kills = int(os.environ.get("IMGCLF_KILLS", case.kills))
    for number in range(0, kills, 4):  # a run has room for a few only
        run, several = tmp_path / f"run{number}", min(4, kills - number)
        for _ in range(several):
            if not (run / "metrics.json").exists():
                runner.kill(run, runner.plan(counts, draws, share=2 / (several + 1)))
        if not (run / "metrics.json").exists():
            code, output = runner.start(*runner.command(run), folder=str(run))
            assert code == 0, f"{runner}\n{output}"
        print(runner)
        assert metrics(run) == metrics(whole), str(runner)
        assert table(run) == table(whole), str(runner)
        for checkpoint in ("last", "best"):
            assert differences(state(run, checkpoint), state(whole, checkpoint)) == [], str(runner)
        assert not list(run.rglob("*.tmp")), str(runner)


def state(folder: Path, name: str) -> dict[str, Any]:
    """All that a checkpoint holds but for the clock's figures and the counters by which Lightning finds its place."""
    found = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
    found["callbacks"] = {key: value for key, value in found["callbacks"].items() if not key.startswith("Throughput")}
    found.pop("loops")
    return found


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Paths at which two checkpoints differ, bit by bit."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [path]
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [*a, *(key for key in b if key not in a)]
        return [d for key in keys for d in differences(a.get(key), b.get(key), f"{path}.{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [d for n, (x, y) in enumerate(zip(a, b, strict=True)) for d in differences(x, y, f"{path}[{n}]")]
    return [] if a == b or (a != a and b != b) else [f"{path}: {a} and {b}"]
