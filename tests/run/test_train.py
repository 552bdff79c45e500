"""scripts/train.py as a user runs it, in one process."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import torch
from conftest import ROOT, Door
from own import OWN, argument, network
from run_files import assert_same, metrics, run_json, table, weights

from imgclf.run_folder import RunFolder

SHORT = ("trainer.max_epochs=3", "data.batch_size=500")


def test_the_plain_command_trains_tests_and_says_where_things_are(door: Door, tmp_path: Path) -> None:
    done = door("train.py")
    folder = Path(re.search(r"run folder: +(\S+)", done.stdout)[1])  # type: ignore[index]
    assert folder.parent == tmp_path / "logs" / "runs" / "mlp_fashion_mnist_mini"
    values = json.loads((folder / "metrics.json").read_text())
    assert values["test/acc"] > 0.8
    for stage in ("train", "validation", "test"):
        assert re.search(rf"^{stage} +\d\.\d+ +0\.\d+$", done.stdout, re.MULTILINE)
    assert all(len(line) <= 80 or str(folder) in line for line in done.stdout.splitlines())

    # The folder's contract.
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert names >= {"run.json", "metrics.json", "metrics.csv", "train.log", ".hydra/config.yaml"}
    assert names >= {"checkpoints/best.ckpt", "checkpoints/last.ckpt", ".hydra/overrides.yaml"}
    assert not [name for name in names if name.endswith((".tmp", ".part")) or name == "error.txt"]
    figures = [f"{stage}/{name}" for stage in ("train", "val", "test") for name in ("loss", "acc")]
    assert values.keys() >= {*figures, "best/val/acc", "best/val/loss", "best_epoch"}
    assert values.keys() >= {"images_per_second", "epochs", "seconds"}
    run = run_json(folder)
    assert (run["outcome"], run["seed"], run["error"], run["command"]) == ("finished", 0, None, shlex.join(done.args))
    assert run.keys() >= {"git", "host", "versions", "start", "end", "device", "threads", "processes", "data"}
    assert run["data"]["train"]["images"] == [10000, 1, 28, 28]
    rows = table(folder)
    assert [int(row["epoch"]) for row in rows] == list(range(values["epochs"]))
    assert float(rows[-1]["val/acc"]) == values["val/acc"]
    assert max(float(row["val/acc"]) for row in rows) == values["best/val/acc"]
    assert (folder / "train.log").read_text().count("val acc") == values["epochs"]

    # Quiet where the output is no terminal: the epochs, no bar.
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
    assert re.search(rf"^train +{best[0]:.4f} +{best[1]:.4f}\nvalidation +{best[2]:.4f}", shown, re.M)
    assert f"train {last[0]:.4f}, {last[1]:.4f}; validation {last[2]:.4f}" in shown


def test_the_same_seed_gives_the_same_numbers_and_another_others(door: Door, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        door("train.py", *SHORT, "trainer.max_epochs=1", "model.dropout=0.5", f"seed={seed}", f"hydra.run.dir={name}")
    assert_same(tmp_path / "a", tmp_path / "b")
    one, other = weights(tmp_path / "a"), weights(tmp_path / "c")
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_run_json_says_how_the_code_differs_from_its_commit(tmp_path: Path) -> None:
    checkout, program = (
        tmp_path / "checkout",
        "from imgclf.provenance import provenance as p; import json; print(json.dumps(p()))",
    )
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, checkout], check=True)
    file = checkout / "src" / "imgclf" / "__init__.py"
    file.write_text(file.read_text() + "# a change of mine\n")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=checkout / "src", check=True, capture_output=True, text=True
    )
    git = json.loads(done.stdout)["git"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (git["commit"], git["dirty"]) == (head.strip(), True)
    subprocess.run(["git", "checkout", "-q", "."], cwd=checkout, check=True)
    subprocess.run(["git", "apply"], cwd=checkout, input=git["patch"], text=True, check=True)
    assert file.read_text().endswith("# a change of mine\n")


def test_an_error_of_the_program_keeps_its_traceback_and_leaves_the_folder_to_the_next(
    door: Door, tmp_path: Path
) -> None:
    own = (*network("Failing", kind="bad"), "debug=fast", "hydra.run.dir=run")
    done = door("train.py", *own, expect=1, **OWN)
    for text in (done.stderr, (tmp_path / "run" / "error.txt").read_text()):
        assert "the loss has gone" in text
        assert "own.py" in text
    assert run_json(tmp_path / "run")["outcome"] == "failed"
    door("train.py", "debug=fast", "hydra.run.dir=run")
    assert run_json(tmp_path / "run")["outcome"] == "finished"
    assert not (tmp_path / "run" / "error.txt").exists()


def test_a_run_whose_loss_is_no_number_any_more_has_diverged(door: Door, tmp_path: Path) -> None:
    done = door("train.py", *SHORT, "optimizer.lr=1e30", "hydra.run.dir=run", expect=2)
    assert done.stderr.count("error: ") == 1
    assert run_json(tmp_path / "run")["outcome"] == "diverged"


def test_two_runs_do_not_share_a_folder_at_the_same_time(door: Door, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run").lock():
        assert "going on" in door("train.py", "debug=fast", "hydra.run.dir=run", expect=2).stderr
    door("train.py", "debug=fast", "hydra.run.dir=run")


def test_a_profile_and_loggers_are_what_was_asked_for(door: Door, tmp_path: Path) -> None:
    # Each of the user's own is ended once, as Weights & Biases must be.
    told = argument("logger.mine", "Told", file="${folder}/told", save_dir="${folder}")
    for given, code, said in (
        (("trainer.profiler=simple",), 0, ["success", "success", "finish"]),
        (network("Failing", kind="bad"), 1, ["failed", "finish"]),
    ):
        run = tmp_path / f"run{code}"
        done = door("train.py", "debug=fast", "logger=none", told, *given, f"hydra.run.dir={run}", expect=code, **OWN)
        assert (run / "told").read_text().split() == said
        if not code:
            assert "run_training_epoch" in done.stderr
            assert "run_training_epoch" in (run / "train.log").read_text()


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
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
    assert "data.batch_size=many" in done.stdout
    runs = sorted((tmp_path / "logs" / "runs" / "here").iterdir())
    assert [(run_json(run)["seed"], run_json(run)["outcome"]) for run in runs] == [(0, "finished"), (1, "finished")]
