"""scripts/train.py as a user runs it, in one process."""

import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from conftest import ROOT, Door, run_here
from filelock import FileLock
from own import OWN, network
from run_files import metrics, run_json, table

import imgclf
from imgclf.run_folder import RunFolder
from imgclf.summary import training_table


def test_the_plain_command_trains_tests_and_says_where_things_are(door: Door, tmp_path: Path) -> None:
    done = door("train.py")
    folder = Path(re.search(r"run folder: +(\S+)", done.stdout)[1])  # type: ignore[index]
    assert folder.parent == tmp_path / "logs" / "runs" / "mlp_fashion_mnist_mini"
    values, run, rows = metrics(folder), run_json(folder), table(folder)
    assert values["test/acc"] > 0.8
    for stage in ("train", "validation", "test"):
        assert re.search(rf"^{stage} +\d\.\d+ +0\.\d+$", done.stdout, re.MULTILINE)
    assert all(len(line) <= 80 or str(folder) in line for line in done.stdout.splitlines())

    # The folder's contract.
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and "tfevents" not in p.name}
    assert names - {".lock"} == {
        *("run.json", "metrics.json", "metrics.csv", "train.log", ".hydra/config.yaml", ".hydra/overrides.yaml"),
        *("checkpoints/best.ckpt", "checkpoints/last.ckpt"),
    }
    figures = [f"{stage}/{name}" for stage in ("train", "val", "test", "best/val") for name in ("loss", "acc")]
    assert values.keys() >= {*figures, "best_epoch", "epochs"}
    assert (run["outcome"], run["seed"], run["error"], run["command"]) == ("finished", 0, None, shlex.join(done.args))
    assert run.keys() >= {"git", "host", "versions", "start", "end", "device", "threads", "processes", "data"}
    assert run["data"]["train"]["images"] == [10000, 1, 28, 28]
    if not torch.cuda.is_available():
        flags = set(Path("/proc/cpuinfo").read_text().split()) if Path("/proc/cpuinfo").exists() else set()
        assert run["precision"] == ("bf16-mixed" if flags & {"avx512_bf16", "amx_tile"} else "32-true")
    assert [int(row["epoch"]) for row in rows] == list(range(values["epochs"]))
    assert float(rows[-1]["val/acc"]) == values["val/acc"]
    assert max(float(row["val/acc"]) for row in rows) == values["best/val/acc"]
    assert (folder / "train.log").read_text().count("val acc") == values["epochs"]

    assert f"{values['test/loss']:.4f}    {values['test/acc']:.4f}" in door("evaluate.py", f"run={folder}").stdout


def test_the_table_shows_the_tested_epoch_and_the_last_apart(door: Door, tmp_path: Path) -> None:
    own = "from imgclf.models.mlp import MLP\nclass Own(MLP):\n    def training_step(self, *batch):\n        "
    own += "self.log('at', self.current_epoch, on_step=False, on_epoch=True); return super().training_step(*batch)\n"
    (tmp_path / "at.py").write_text(own)
    first = ("model._target_=at.Own", "callbacks.checkpoint.monitor=at", "callbacks.checkpoint.mode=min")
    given = ("trainer.max_epochs=2", "data.batch_size=500", "logger=none", *first, "hydra.run.dir=run")
    shown = door("train.py", *given, PYTHONPATH=str(tmp_path)).stdout
    values, rows = metrics(tmp_path / "run"), table(tmp_path / "run")
    kinds = ("train/loss", "train/acc", "val/loss", "val/acc")
    best, last = ([float(row[kind]) for kind in kinds] for row in (rows[0], rows[-1]))
    assert [values[f"best/{kind}"] for kind in kinds] == best
    assert [values[kind] for kind in kinds] == last
    assert re.search(rf"^train +{best[0]:.4f} +{best[1]:.4f}\nvalidation +{best[2]:.4f}", shown, re.M)
    undefined = {"epochs": 1, "images_per_second": None, "seconds": 1.0, "test/auroc": None}
    assert re.search(r"test/auroc +nan\n0 training", training_table(undefined, tmp_path, on_board=False))
    assert f"train {last[0]:.4f}, {last[1]:.4f}; validation {last[2]:.4f}" in shown


@pytest.mark.slow
def test_run_json_says_how_the_code_differs_from_its_commit(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", ROOT, checkout], check=True)
    file = checkout / "src" / "imgclf" / "__init__.py"
    file.write_text(file.read_text() + "# a change of mine\n")
    new = file.with_name("new.py")
    new.write_text("# a file of mine\n")
    environment = os.environ | {"PYTHONPATH": f"{checkout}/src"}
    run_here(["scripts/train.py", "debug=fast", f"hydra.run.dir={tmp_path}/run"], checkout, environment)
    git = run_json(tmp_path / "run")["git"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert (git["commit"], git["dirty"]) == (head.strip(), True)
    new.unlink()
    subprocess.run(["git", "checkout", "-q", "."], cwd=checkout, check=True)
    subprocess.run(["git", "apply"], cwd=checkout, input=git["patch"], text=True, check=True)
    assert (file.read_text()[-19:], new.read_text()) == ("# a change of mine\n", "# a file of mine\n")
    (checkout / "README.md").write_bytes(b"\xe9")
    (checkout / "ask.py").write_text("from imgclf.provenance import provenance; print(provenance()['git'])")
    told = run_here(["ask.py"], checkout, environment).stdout
    assert (head.strip() in told, "'patch': None" in told) == (True, True), told


def test_an_error_keeps_its_traceback_and_leaves_the_folder_to_the_next(door: Door, tmp_path: Path) -> None:
    quick = ("debug=fast", "callbacks=bare", "logger=none", "hydra.run.dir=run")
    run, own = tmp_path / "run", (*network("Failing", kind="bad"), *quick)
    done = door("train.py", *own, expect=1, **OWN)
    for text in (done.stderr, (run / "error.txt").read_text()):
        assert "the loss has gone" in text
        assert "own.py" in text
    assert run_json(run)["outcome"] == "failed"
    with FileLock(run / ".lock"):
        assert "going on" in door("train.py", *quick, expect=2).stderr
    door("train.py", *quick)
    assert (run_json(run)["outcome"], (run / "error.txt").exists()) == ("finished", False)


def test_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lean = "import sys, imgclf; assert not {'torch', 'hydra'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", lean], check=True)
    monkeypatch.chdir(tmp_path)
    given = ("debug=fast", "callbacks=bare", "logger=none", "name=here", "optimizer=adamw", "~optimizer.lr")
    configs = [imgclf.compose((*given, f"seed={seed}")) for seed in (0, 1)]
    before = dict(os.environ), torch.get_num_threads(), Path.cwd()
    with ThreadPoolExecutor() as threads:
        assert [threads.submit(imgclf.fit, config).result()["epochs"] for config in configs] == [1, 1]
    assert (dict(os.environ), torch.get_num_threads(), Path.cwd()) == before
    runs = sorted((tmp_path / "logs" / "runs" / "here").iterdir())
    assert [(run_json(run)["seed"], run_json(run)["outcome"]) for run in runs] == [(0, "finished"), (1, "finished")]
    assert [RunFolder(run).read_overrides()[-1:] for run in runs] == [[], ["seed=1"]], "no other run's"
