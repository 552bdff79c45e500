"""scripts/train.py as a user runs it."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from board_files import Board
from brake import braked
from conftest import ROOT, Door, Doors, Start
from loaded import telling_of_torch
from run_files import metrics, run_json, table, weights
from starter import Started

SHORT = ("trainer.max_epochs=3", "data.batch_size=500")


def same_weights(a: Path, b: Path) -> bool:
    one, other = weights(a), weights(b)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_plain_command_trains_tests_and_says_where_things_are(door: Door, tmp_path: Path) -> None:
    done = door("train.py")
    folder = Path(re.search(r"run folder: +(\S+)", done.stdout)[1])  # type: ignore[index]
    assert folder.parent == tmp_path / "logs" / "runs" / "mlp_fashion_mnist_mini"
    values = json.loads((folder / "metrics.json").read_text())
    assert values["test/acc"] > 0.8
    for stage in ("train", "validation", "test"):
        assert re.search(rf"^{stage} +\d\.\d+ +0\.\d+$", done.stdout, re.MULTILINE)
    assert f"uv run tensorboard --logdir {folder}" in done.stdout
    assert all(len(line) <= 80 or str(folder) in line for line in done.stdout.splitlines())

    # The folder's contract.
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert {"run.json", "metrics.json", "metrics.csv", "train.log", ".hydra/config.yaml"} <= names
    assert {"checkpoints/best.ckpt", "checkpoints/last.ckpt", ".hydra/overrides.yaml"} <= names
    assert not [name for name in names if name.endswith((".tmp", ".part"))]
    run = run_json(folder)
    assert run["outcome"] == "finished"
    assert run["seed"] == 0
    assert {"command", "git", "host", "versions", "start", "end"} <= run.keys()
    rows = table(folder)
    assert [int(row["epoch"]) for row in rows] == list(range(values["epochs"]))
    assert float(rows[-1]["val/acc"]) == values["val/acc"]
    assert max(float(row["val/acc"]) for row in rows) == values["best/val/acc"]
    assert (folder / "train.log").read_text().count("val acc") == values["epochs"]

    # Quiet where the output is no terminal: the epochs, no bar, no warning.
    assert "Warning" not in done.stderr
    assert "\r" not in done.stderr
    assert done.stderr.count("epoch ") == values["epochs"]

    again = door("evaluate.py", f"run={folder}")
    assert f"{values['test/loss']:.4f}    {values['test/acc']:.4f}" in again.stdout


def test_the_table_shows_the_tested_epoch_and_the_last_apart(door: Door, tmp_path: Path) -> None:
    # The first epoch's loss is the greatest.
    first = ("callbacks.checkpoint.monitor=train/loss", "callbacks.checkpoint.mode=max")
    shown = door("train.py", *SHORT, *first, "hydra.run.dir=run").stdout
    values, rows = metrics(tmp_path / "run"), table(tmp_path / "run")
    kinds = ("train/loss", "train/acc", "val/loss", "val/acc")
    best, last = ([float(row[kind]) for kind in kinds] for row in (rows[0], rows[-1]))
    assert [values[f"best/{kind}"] for kind in kinds] == best
    assert [values[kind] for kind in kinds] == last
    a, b, c, d = (f"{value:.4f}" for value in best)
    test = f"{values['test/loss']:10.4f}{values['test/acc']:10.4f}"
    block = [f"epoch 1{'loss':>15}{'accuracy':>10}", f"train{a:>17}{b:>10}", f"validation{c:>12}{d:>10}"]
    e, f, g, h = (f"{value:.4f}" for value in last)
    block += [f"test{'':8}{test}", f"epoch 3, the last: train {e}, {f}; validation {g}, {h}"]
    assert "\n".join(block) in shown

    at_end = door("train.py", *SHORT, "retrain_on_all=true", "hydra.run.dir=all").stdout
    assert "\nepoch 3 " in at_end
    assert "the last" not in at_end


def test_the_same_seed_gives_the_same_numbers_and_another_others(door: Door, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        door("train.py", *SHORT, "trainer.max_epochs=1", "model.dropout=0.5", f"seed={seed}", f"hydra.run.dir={name}")
    a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    assert same_weights(a, b)
    assert metrics(a) == metrics(b)
    assert not same_weights(a, c)


# Dropout and a schedule by batch: what a step draws, and where it stands, must both continue.
STATEFUL = (
    "trainer.accumulate_grad_batches=2",
    "model.dropout=0.3",
    "schedule=cosine",
    "schedule.interval=batch",
    "schedule.warmup_updates=20",
)
RUN = (
    "trainer.max_epochs=8",
    "trainer.log_every_n_steps=4",
    "optimizer.momentum=0.9",
    "optimizer.lr=0.05",
    *STATEFUL,
)


BRAKE = {"PYTHONPATH": str(ROOT / "tests")}  # where the brake is found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    doors(folder.parent)("train.py", *RUN, f"hydra.run.dir={folder}")
    return folder


def wait_for_row(folder: Path, count: int, process: Started) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / "metrics.csv").exists() and len(table(folder)) >= count:
            return
        time.sleep(0.005)
    raise AssertionError(f"no row {count}: {process.communicate()[0]}")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_a_stopped_run_continues_to_the_very_numbers(
    door: Door, start: Start, tmp_path: Path, undisturbed: Path, name: str
) -> None:
    signum = signal.Signals[name]
    folder = tmp_path / "run"
    process = start(*RUN, *braked(tmp_path / "brake"), f"hydra.run.dir={folder}", **BRAKE)
    wait_for_row(folder, 3, process)
    process.send_signal(signum)
    output = process.communicate(timeout=300)[0]
    (tmp_path / "brake").unlink()
    if signum == signal.SIGKILL:
        assert process.returncode == -signum
        assert run_json(folder)["outcome"] == "running"
    else:
        assert process.returncode == 128 + signum, output
        assert f"stopped by {name}; continue with: uv run scripts/train.py resume=" in output
        assert run_json(folder)["outcome"] == "interrupted"
    assert not (folder / "metrics.json").exists()

    door("train.py", f"resume={folder}", **BRAKE)
    assert same_weights(folder, undisturbed)
    assert table(folder) == table(undisturbed)
    assert metrics(folder) == metrics(undisturbed)
    curves = Board(folder).repeatable()
    assert curves == Board(undisturbed).repeatable(), "no point of a curve is missing, none is there twice"
    assert {"loss/train", "loss/train_steps", "gradient/norm", "rate/lr", "rate/planned", "accuracy/test"} <= set(
        curves
    )
    assert run_json(folder)["outcome"] == "finished"
    assert len(run_json(folder)["resumed"]) == 1


def test_a_run_is_resumed_after_its_folder_was_moved(door: Door, tmp_path: Path) -> None:
    door("train.py", *SHORT, "hydra.run.dir=whole")
    door("train.py", *SHORT, "trainer.max_epochs=2", "hydra.run.dir=first")
    (tmp_path / "first").rename(tmp_path / "a place of its own")
    door("train.py", "resume='a place of its own'", "trainer.max_epochs=3")
    moved = tmp_path / "a place of its own"
    assert same_weights(moved, tmp_path / "whole")
    assert metrics(moved) == metrics(tmp_path / "whole")
    assert not (tmp_path / "first").exists()


def test_two_processes_come_to_what_one_comes_to(door: Door, tmp_path: Path) -> None:
    # In float32: bfloat16 rounds the two halves of a batch otherwise than the whole.
    settings = (*SHORT, "trainer.precision=32-true")
    door("train.py", *settings, "hydra.run.dir=one")
    done = door("train.py", *settings, "trainer=ddp_cpu", "hydra.run.dir=two")
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert two[name] == pytest.approx(value, abs=2e-4), name
    assert run_json(tmp_path / "two")["command"] == shlex.join(done.args)
    assert done.stderr.count("epoch 1/3") == 1, "one process speaks"
    assert [p.name for p in tmp_path.iterdir()].count("two") == 1
    assert not (tmp_path / "logs").exists(), "no second folder"
    # A run of two processes is evaluated and continued by as many, or by one.
    tested = door("evaluate.py", "run=two", **telling_of_torch(tmp_path))
    assert tested.stderr.endswith("torch loaded: False\n"), "the one that starts them has no need of it"
    first = tested.stdout
    second = door(
        "evaluate.py", "run=two", "trainer=cpu", "trainer.precision=32-true", "data.eval_batch_size=77"
    ).stdout
    assert first == second


@pytest.mark.counted
def test_what_every_process_refuses_is_said_once_and_the_one_that_starts_them_loads_no_torch(
    door: Door, tmp_path: Path
) -> None:
    given = ("trainer=ddp_cpu", "model=lenet", "data.resize=4")
    done = door("train.py", *given, expect=2, **telling_of_torch(tmp_path))
    assert done.stderr.endswith("torch loaded: False\n")
    assert done.stderr.count("LeNet cannot take images of 1x4x4") == 1, done.stderr


@pytest.mark.counted
def test_a_killed_parent_leaves_no_process_behind(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start("trainer=ddp_cpu", "trainer.max_epochs=100000", f"hydra.run.dir={folder}")
    wait_for_row(folder, 1, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 2
    process.kill()
    process.communicate(timeout=300)
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and any(_alive(pid) for pid in children):
        time.sleep(0.1)
    assert not [pid for pid in children if _alive(pid)]


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.counted
def test_ddp_is_stopped_by_one_signal_and_resumed(door: Door, start: Start, tmp_path: Path) -> None:
    options = ("trainer=ddp_cpu", "trainer.max_epochs=6", "model.dropout=0.3", "data.batch_size=100")
    door("train.py", *options, "hydra.run.dir=whole")
    folder = tmp_path / "stopped"
    process = start(*options, *braked(tmp_path / "brake"), f"hydra.run.dir={folder}", **BRAKE)
    wait_for_row(folder, 2, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=300) == 128 + signal.SIGTERM, process.communicate()[0]
    (tmp_path / "brake").unlink()
    door("train.py", f"resume={folder}", **BRAKE)
    assert same_weights(folder, tmp_path / "whole")
    assert table(folder) == table(tmp_path / "whole")


def test_a_sweep_makes_a_folder_a_job(door: Door, tmp_path: Path) -> None:
    door("train.py", "--multirun", "optimizer.lr=0.1,0.2", "debug=fast", "name=sweep")
    (sweep,) = (tmp_path / "logs" / "sweeps" / "sweep").iterdir()
    assert {p.name for p in sweep.iterdir() if p.is_dir()} == {"0", "1"}
    rates = [float(table(sweep / job)[0]["lr"]) for job in ("0", "1")]
    assert rates == [0.1, 0.2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["modle=mlp"], "no key or group 'modle'.*Did you mean 'model'?"),
        (["model=mpl"], "no such choice.*Did you mean 'mlp'?"),
        (["optimizer.lrr=1"], "Did you mean 'optimizer.lr'?"),
        (["batch_size=32"], "Did you mean 'data.batch_size'?"),
        (["data.batch_size=many"], "data.batch_size=many: expected int"),
        (["model.activation=rleu"], "Did you mean 'relu'?"),
        (["+model.layers=3"], "model.layers"),
        (["seed=one"], "seed=one: expected int"),
        (["seed=-1"], "seed=-1: expected 0 or more"),
        (["test=maybe"], "test=maybe: expected bool"),
        (["resume=nowhere"], "there is no folder nowhere"),
        (["resume=."], "is no run folder"),
        (["data.batch_size=0"], "data.batch_size must be at least 1, got 0"),
        (["model.dropout=1.5"], r"model.dropout must lie in \[0, 1\), got 1.5"),
        (["schedule=cosine", "schedule.final_fraction=-1"], "schedule.final_fraction"),
        (["model=torchvision", "model.net.name=resnet81"], "did you mean resnet18"),
        (["trainer.accelerator=tpu"], "trainer"),
        (["data=fashion_mnist", "data.system_dir=null", "data.download=false"], "no Fashion-MNIST files in data.dir="),
    ],
)
def test_bad_input_is_answered_with_one_message_and_nothing_half_done(
    door: Door, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = door("train.py", *arguments, expect=2)
    assert re.search(message, done.stderr, re.DOTALL), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    assert not list(tmp_path.rglob("metrics.json"))
    if "expected" in message or "Did you mean" in message:
        assert not (tmp_path / "logs").exists(), "not even a folder"


def test_a_traceback_is_shown_when_asked_for(door: Door) -> None:
    assert "Traceback" in door("train.py", "model.dropout=2", expect=2, IMGCLF_TRACEBACK="1").stderr


def test_an_error_of_the_program_keeps_its_traceback(door: Door, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def net(): return 1 / 0\n")
    done = door(
        "train.py",
        "model=torchvision",
        "~model.net",
        "+model.net={_target_: mine.net}",
        expect=1,
        PYTHONPATH=str(tmp_path),
    )
    assert "ZeroDivisionError" in done.stderr
    assert "mine.py" in done.stderr


def test_an_occupied_folder_is_refused(door: Door, tmp_path: Path) -> None:
    door("train.py", "debug=fast", "hydra.run.dir=run")
    before = (tmp_path / "run" / "metrics.json").read_text()
    done = door("train.py", "debug=fast", "seed=9", "hydra.run.dir=run", expect=2)
    assert "holds a run already: continue it with resume=" in done.stderr
    assert (tmp_path / "run" / "metrics.json").read_text() == before


def test_a_finished_run_is_not_resumed_by_mistake(door: Door, tmp_path: Path) -> None:
    door("train.py", "debug=fast", "hydra.run.dir=run")
    done = door("train.py", "resume=run", expect=2, **telling_of_torch(tmp_path))
    assert "nothing is left to resume" in done.stderr
    assert done.stderr.endswith("torch loaded: False\n")


def test_a_resumed_run_stays_the_run_it_was(door: Door) -> None:
    door("train.py", *SHORT, "trainer.max_epochs=1", "hydra.run.dir=run")
    done = door("train.py", "resume=run", "trainer.max_epochs=2", "optimizer.lr=0.3", expect=2)
    assert "but optimizer was changed" in done.stderr
    door("train.py", "resume=run", "trainer.max_epochs=2", "trainer.log_every_n_steps=5")


def test_a_run_that_lacked_only_its_test_is_finished(door: Door, tmp_path: Path) -> None:
    door("train.py", *SHORT, "hydra.run.dir=run")
    whole = metrics(tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    door("train.py", "resume=run")
    assert metrics(tmp_path / "run") == whole


def test_help_is_for_people_and_nothing_heavy_is_loaded_for_it(root: Path, tmp_path: Path) -> None:
    program = (
        "import runpy, sys\n"
        f"sys.argv = [{str(root / 'scripts' / 'train.py')!r}, *ARGUMENTS]\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally:\n    print('HEAVY', sorted({'torch', 'pytorch_lightning', 'numpy'} & set(sys.modules)))\n"
    )
    for arguments, code in ((["--help"], 0), (["--cfg", "job"], 0), (["modle=mlp"], 2), (["data.batch_size=x"], 2)):
        done = subprocess.run(
            [sys.executable, "-c", program.replace("ARGUMENTS", repr(arguments))],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={k: v for k, v in os.environ.items() if k != "HYDRA_FULL_ERROR"},
        )
        assert done.returncode == code, done.stderr
        assert "HEAVY []" in done.stdout, arguments
        if arguments == ["--help"]:
            for group in ("data", "model", "optimizer", "schedule", "trainer", "callbacks", "logger", "debug"):
                assert re.search(rf"^{group}: \w+", done.stdout, re.MULTILINE), group
            assert done.stdout.count("  uv run scripts/train.py") >= 5
