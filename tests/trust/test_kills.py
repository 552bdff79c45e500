"""A run that is killed at any moment, again and again, comes to the very numbers of an undisturbed one.

Two cases are killed once or twice every time, at moments that stay the same. ``IMGCLF_KILLS=30`` kills each of the
cases so often, at random ones; ``IMGCLF_KILL_SEED=N`` repeats those of a run that failed.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from run_files import metrics, table

from imgclf.benchmark.made_up import competition

KILLS = int(os.environ.get("IMGCLF_KILLS", "0"))
SEED = int(os.environ.get("IMGCLF_KILL_SEED", random.SystemRandom().randrange(2**32) if KILLS else 1))
HERE = Path(__file__).parent
KILLS_A_RUN = 3

needs_time = pytest.mark.skipif(not KILLS, reason="moments drawn at random, minutes long: runs with IMGCLF_KILLS=30")

COMMON = ("data.augment=pad_crop_flip", "optimizer.momentum=0.9", "trainer.deterministic=true")


@dataclass(frozen=True)
class Case:
    """A run, and where kills may hit it.

    arguments: of scripts/train.py. processes: of the run. regions: what is written meanwhile. first:
    what is not left to chance about the first kill. always: not only where there is time.
    """

    arguments: Sequence[str]
    processes: int = 1
    regions: Sequence[str] = ("save", "files")
    needs: Sequence[str] = ()
    first: Mapping[str, Any] = field(default_factory=dict)
    always: bool = False


CASES = {
    "one process, schedule by batch, accumulation, ema, early stopping, checkpoints by step": Case(
        (
            *COMMON,
            "model.dropout=0.3",
            "trainer.max_epochs=6",
            "trainer.accumulate_grad_batches=2",
            "schedule=cosine",
            "schedule.interval=batch",
            "schedule.warmup_updates=20",
            "callbacks=ema",
            "callbacks.ema.decay=0.9",
            "callbacks.checkpoint.every_n_steps=7",
            "+callbacks.early_stopping._target_=pytorch_lightning.callbacks.EarlyStopping",
            "+callbacks.early_stopping.monitor=val/loss",
            "+callbacks.early_stopping.patience=1",
            "+callbacks.early_stopping.min_delta=0.2",  # stops it before its last epoch
        ),
        always=True,
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
    ),
    "png files that are decoded first": Case(
        (
            "data=kaggle_cifar10",
            "data.decode_workers=3",
            "data.batch_size=100",
            "trainer.max_epochs=2",
            "data.num_workers=1",
        ),
        regions=("cache",),
        needs=("images",),
        first={"region": "cache", "signal": int(signal.SIGKILL)},
    ),
    "langevin noise, validation every other epoch, checkpoints now and then": Case(
        (
            *COMMON[:1],
            "optimizer=sgld",
            "trainer.max_epochs=5",
            "trainer.check_val_every_n_epoch=2",
            "callbacks.checkpoint.every_n_epochs=2",
            "callbacks.checkpoint.every_minutes=0.002",
            "trainer.gradient_clip_val=1.0",
        ),
    ),
    "two processes, augmentation, accumulation, early stopping": Case(
        (
            *COMMON,
            "trainer=ddp_cpu",
            "model.dropout=0.3",
            "trainer.max_epochs=5",
            "trainer.accumulate_grad_batches=3",
            "callbacks=early_stopping",
            "callbacks.early_stopping.patience=1",
            "callbacks.early_stopping.min_delta=0.3",
            "callbacks.checkpoint.every_minutes=0.002",
        ),
        processes=2,
        always=True,
    ),
}


class Runner:
    """Starts one case's command, kills it, and resumes it."""

    def __init__(self, root: Path, place: Path, case: Case) -> None:
        self.root, self.place, self.case = root, place, case
        self.told = place / "told"
        self.story: list[str] = []
        self.counts: dict[str, int] = {}

    def start(self, *arguments: str, **plan: Any) -> tuple[int, str]:
        self.told.unlink(missing_ok=True)
        process = None if self.case.processes == 1 else plan.pop("process", "0")
        moment = {"told": str(self.told), "process": process, **plan}
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment |= {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(HERE / "moments"), str(HERE / "nets")]),
            "IMGCLF_MOMENT": json.dumps(moment),
        }
        started = subprocess.Popen(
            [sys.executable, str(self.root / "scripts" / "train.py"), *arguments],
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

    def undisturbed(self) -> Path:
        code, output = self.start(*self.case.arguments, "hydra.run.dir=undisturbed")
        assert code == 0, output
        self.counts = json.loads(self.told.read_text())
        return self.place / "undisturbed"

    def killed(self, folder: str, kills: int, draws: random.Random) -> Path:
        run = self.place / folder
        for number in range(kills):
            if (run / "metrics.json").exists():
                break
            self.kill_once(folder, self.draw(kills, draws, self.case.first if number == 0 else {}))
        if not (run / "metrics.json").exists():
            code, output = self.start(*self.command(folder))
            assert code == 0, self.told_so_far(output)
        return run

    def draw(self, kills: int, draws: random.Random, given: Mapping[str, Any]) -> dict[str, Any]:
        """A moment: anywhere, or within a region; early enough to leave something for the kills that follow."""
        plan: dict[str, Any] = {"signal": int(draws.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))}
        plan["target"] = "self"
        regions = ["all", *(region for region in self.case.regions if self.counts[region])]
        reach = 2 / (kills + 1)
        if self.case.processes > 1:
            plan["target"] = draws.choice(["self", "parent", "all"])
            plan["process"] = draws.choice([str(n) for n in range(self.case.processes)])
            if plan["process"] != "0":  # which writes no files, and has less to do
                regions, reach = ["all"], reach / 2
        plan["region"] = draws.choice(regions)
        plan |= given
        plan["count"] = draws.randint(1, max(1, int(self.counts[plan["region"]] * min(1.0, reach))))
        return plan

    def command(self, folder: str) -> Sequence[str]:
        """What a user types: resume, or, for a run that had not begun, its command again."""
        if (self.place / folder / ".hydra" / "config.yaml").exists():
            return (f"resume={folder}",)
        return (*self.case.arguments, f"hydra.run.dir={folder}")

    def kill_once(self, folder: str, plan: dict[str, Any]) -> None:
        command = self.command(folder)
        code, output = self.start(*command, **plan)
        where = self.told.read_text() if self.told.exists() else "not reached: the run was over before\n"
        self.story.append(f"{' '.join(command)}\n{plan}\n" + "\n".join(where.splitlines()[-6:]) + f"\n-> {code}\n")
        signum = plan["signal"]
        finished = (self.place / folder / "metrics.json").exists()
        if not self.told.exists():
            assert code == 0, self.told_so_far(output)
            return
        assert code in (128 + signum, -signum) or (finished and code == 0), self.told_so_far(output)
        outcome = self.outcome(folder)
        assert outcome != "failed" or signum == signal.SIGKILL, self.told_so_far(output)
        if code == 128 + signum and signum != signal.SIGKILL and not finished:
            # Ctrl-C before the run has begun, or begun again, leaves what it was.
            before = ("", "running") if signum == signal.SIGINT else ()
            assert outcome in ("interrupted", *before), self.told_so_far(output)
            last = self.place / folder / "checkpoints" / "last.ckpt"
            if "training_epoch_loop.py" in where:
                assert last.stat().st_mtime_ns > self.told.stat().st_mtime_ns, "saved at once"

    def outcome(self, folder: str) -> str:
        file = self.place / folder / "run.json"
        return json.loads(file.read_text() or "{}").get("outcome", "") if file.exists() else ""

    def told_so_far(self, output: str) -> str:
        return f"IMGCLF_KILL_SEED={SEED}\n" + "\n".join(self.story) + f"\n{output}"


@pytest.mark.parametrize("name", [pytest.param(name, marks=[] if CASES[name].always else needs_time) for name in CASES])
def test_a_run_that_is_killed_again_and_again_comes_to_the_very_numbers(name: str, root: Path, tmp_path: Path) -> None:
    case = CASES[name]
    given = list(case.arguments)
    if "images" in case.needs:
        competition(tmp_path / "images", train=1200, test=1)  # enough for two decoding processes
        given.append(f"data.dir={tmp_path / 'images'}")
        case = replace(case, arguments=given)
    runner = Runner(root, tmp_path, case)
    undisturbed = runner.undisturbed()
    draws = random.Random(SEED)
    # A run has room for some kills only: several runs for many.
    kills = KILLS or (2 if case.processes == 1 else 1)
    for number in range(0, kills, KILLS_A_RUN):
        if "images" in case.needs:
            shutil.rmtree(tmp_path / "images" / ".decoded")
        run = runner.killed(f"run{number}", min(KILLS_A_RUN, kills - number), draws)
        said = runner.told_so_far("")
        print(said)
        assert metrics(run) == metrics(undisturbed), said
        assert table(run) == table(undisturbed), said
        for checkpoint in ("last", "best"):
            assert differences(state(run, checkpoint), state(undisturbed, checkpoint)) == [], said
        assert not list(run.rglob("*.tmp")), said
        runner.story.clear()


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


@needs_time
@pytest.mark.parametrize("target", ["self", "all"])
def test_a_signal_to_processes_of_a_sweeps_job_stops_the_sweep_which_goes_on_later(
    root: Path, tmp_path: Path, target: str
) -> None:
    given = ("-m", "seed=0,1", "trainer=ddp_cpu", "trainer.max_epochs=2", "model.dropout=0.2", "logger=none")
    runner = Runner(root, tmp_path, Case(given, processes=2))
    code, output = runner.start(*given, "hydra.sweep.dir=undisturbed")
    assert code == 0, output
    count = random.Random(SEED).randint(1, json.loads(runner.told.read_text())["all"] // 2)
    plan = {"process": "1", "region": "all", "count": count, "signal": int(signal.SIGTERM), "target": target}
    code, output = runner.start(*given, "hydra.sweep.dir=sweep", **plan)
    assert code == 128 + signal.SIGTERM, f"IMGCLF_KILL_SEED={SEED}\n{output}"
    assert "stopped by SIGTERM\ngo on with: uv run scripts/train.py -m sweep.resume=sweep" in output
    assert not (tmp_path / "sweep" / "1" / "run.json").exists(), "no further job was begun"
    code, output = runner.start("-m", "sweep.resume=sweep")
    assert code == 0, output
    for job in "01":
        assert metrics(tmp_path / "sweep" / job) == metrics(tmp_path / "undisturbed" / job)
        assert table(tmp_path / "sweep" / job) == table(tmp_path / "undisturbed" / job)
        assert differences(state(tmp_path / "sweep" / job, "last"), state(tmp_path / "undisturbed" / job, "last")) == []
