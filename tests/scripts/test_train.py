"""scripts/train.py as a user runs it, in one process."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, Door, Start
from loaded import telling_of_torch
from run_files import metrics, run_json, table, weights

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
    assert names >= {"run.json", "metrics.json", "metrics.csv", "train.log", ".hydra/config.yaml"}
    assert names >= {"checkpoints/best.ckpt", "checkpoints/last.ckpt", ".hydra/overrides.yaml"}
    assert "error.txt" not in names
    assert not [name for name in names if name.endswith((".tmp", ".part"))]
    figures = [f"{stage}/{name}" for stage in ("train", "val", "test") for name in ("loss", "acc")]
    assert values.keys() >= {*figures, "best/val/acc", "best/val/loss", "best_epoch"}
    assert values.keys() >= {"images_per_second", "epochs", "seconds"}
    run = run_json(folder)
    assert (run["outcome"], run["seed"], run["error"]) == ("finished", 0, None)
    assert run.keys() >= {"git", "host", "versions", "start", "end", "device", "threads", "processes", "data"}
    assert run["command"] == shlex.join(done.args)
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
    assert re.search(rf"^epoch 1 .*\ntrain +{best[0]:.4f} +{best[1]:.4f}\nvalidation +{best[2]:.4f}", shown, re.M)
    assert re.search(rf"^epoch 3, the last: train {last[0]:.4f}, {last[1]:.4f}; validation {last[2]:.4f}", shown, re.M)


def test_the_same_seed_gives_the_same_numbers_and_another_others(door: Door, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        door("train.py", *SHORT, "trainer.max_epochs=1", "model.dropout=0.5", f"seed={seed}", f"hydra.run.dir={name}")
    a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    assert same_weights(a, b)
    assert metrics(a) == metrics(b)
    assert not same_weights(a, c)


def test_run_json_says_how_the_code_differs_from_its_commit(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, checkout], check=True)
    file = checkout / "src" / "imgclf" / "__init__.py"
    file.write_text(file.read_text() + "# a change of mine\n")
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(checkout / "scripts" / "train.py"), "debug=fast", "hydra.run.dir=run"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=300)
    git = run_json(tmp_path / "run")["git"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (git["commit"], git["dirty"]) == (head.strip(), True)
    assert "+# a change of mine" in git["patch"]
    subprocess.run(["git", "checkout", "-q", "."], cwd=checkout, check=True)
    subprocess.run(["git", "apply"], cwd=checkout, input=git["patch"], text=True, check=True)
    assert file.read_text().endswith("# a change of mine\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["modle=mlp"], "Did you mean model"),
        (["model=mpl"], "Did you mean model=mlp"),
        (["data.batch_size=many"], "data.batch_size=many"),
        (["resume=nowhere"], "nowhere"),
        (["resume=."], "is no run folder"),
        (["data.batch_size=0"], "data.batch_size"),
        (["trainer.accelerator=tpu"], "trainer"),
        (["trainer.limit_train_batches=0.001"], "limit_train_batches"),
        (["trainer.limit_val_batches=0.5"], "limit_val_batches"),
        (["data=fashion_mnist", "data.system_dir=null", "data.download=false"], "no Fashion-MNIST files in data.dir="),
    ],
)
def test_bad_input_is_answered_with_one_message(door: Door, tmp_path: Path, arguments: list[str], message: str) -> None:
    done = door("train.py", *arguments, expect=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    assert not list(tmp_path.rglob("metrics.json"))


def test_an_error_of_the_program_keeps_its_traceback_and_so_does_a_mistake_on_request(
    door: Door, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text("def net(): return 1 / 0\n")
    own = ("model=torchvision", "~model.net", "+model.net={_target_: mine.net}", "hydra.run.dir=run")
    done = door("train.py", *own, expect=1, PYTHONPATH=str(tmp_path))
    for text in (done.stderr, (tmp_path / "run" / "error.txt").read_text()):
        assert "ZeroDivisionError" in text
        assert "mine.py" in text
    assert run_json(tmp_path / "run")["outcome"] == "failed"
    assert "Traceback" in door("train.py", "model.dropout=2", expect=2, IMGCLF_TRACEBACK="1").stderr

    # A start that came to nothing leaves its folder to the next.
    door("train.py", "debug=fast", "hydra.run.dir=run")
    assert run_json(tmp_path / "run")["outcome"] == "finished"
    assert not (tmp_path / "run" / "error.txt").exists()

    # One that holds a run is not written over.
    before = (tmp_path / "run" / "metrics.json").read_text()
    assert "resume=" in door("train.py", "debug=fast", "seed=9", "hydra.run.dir=run", expect=2).stderr
    assert (tmp_path / "run" / "metrics.json").read_text() == before


def test_a_run_whose_loss_is_no_number_any_more_has_diverged(door: Door, tmp_path: Path) -> None:
    done = door("train.py", *SHORT, "optimizer.lr=1e30", "hydra.run.dir=run", expect=2)
    assert done.stderr.count("error: ") == 1
    assert run_json(tmp_path / "run")["outcome"] == "diverged"


def test_two_runs_do_not_share_a_folder_at_the_same_time(door: Door, start: Start, tmp_path: Path) -> None:
    first = start("trainer.max_epochs=100000", "hydra.run.dir=run")
    try:
        first.wait_for(tmp_path / "run" / "metrics.csv")
        for arguments in (("hydra.run.dir=run",), ("resume=run",)):
            told = door("train.py", *arguments, expect=2).stderr
            assert "going on" in told
            assert "Traceback" not in told
        assert first.poll() is None, "undisturbed"
    finally:
        first.kill()


def test_nobody_reading_the_output_changes_nothing(tmp_path: Path) -> None:
    """As in ``scripts/train.py ... | head -1``, where also errors may go to."""
    for folder, pipe in (("run", "|"), ("both", "2>&1 |")):
        command = f"{sys.executable} {ROOT}/scripts/train.py debug=fast hydra.run.dir={folder} {pipe} true"
        done = subprocess.run(
            ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        assert "BrokenPipe" not in done.stderr
        assert run_json(tmp_path / folder)["outcome"] == "finished"


def test_a_profile_that_is_asked_for_is_shown_and_kept(door: Door, tmp_path: Path) -> None:
    done = door("train.py", "debug=fast", "trainer.profiler=simple", "hydra.run.dir=run")
    for text in (done.stderr, (tmp_path / "run" / "train.log").read_text()):
        assert "run_training_epoch" in text


def test_help_and_mistakes_need_nothing_heavy(door: Door, tmp_path: Path) -> None:
    for arguments, code in ((["--help"], 0), (["--cfg", "job"], 0), (["modle=mlp"], 2)):
        done = door("train.py", *arguments, expect=code, **telling_of_torch(tmp_path))
        assert done.stderr.endswith("torch loaded: False\n")
        if arguments == ["--help"]:
            for group in ("data", "model", "optimizer", "schedule", "trainer", "callbacks", "logger", "debug"):
                assert re.search(rf"^{group}: \w+", done.stdout, re.MULTILINE), group
            assert done.stdout.count("  uv run scripts/train.py") >= 5


def test_from_python(tmp_path: Path) -> None:
    program = (
        "import sys, imgclf\n"
        "assert not {'torch', 'hydra'} & set(sys.modules)\n"
        "for seed in (0, 1):\n"
        "    metrics = imgclf.fit(imgclf.compose(['debug=fast', f'seed={seed}', 'name=here']))\n"
        "    assert metrics['epochs'] == 1\n"
        "try:\n"
        "    imgclf.compose(['data.batch_size=many'])\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert "data.batch_size=many" in done.stdout
    runs = sorted((tmp_path / "logs" / "runs" / "here").iterdir())
    assert [run_json(run)["seed"] for run in runs] == [0, 1]
    assert [run_json(run)["outcome"] for run in runs] == ["finished"] * 2
