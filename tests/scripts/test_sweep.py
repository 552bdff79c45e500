"""Sweeps of scripts/train.py as a user runs them."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from conftest import Door, Doors
from run_files import run_json
from sweep_runs import TINY, assert_same, jobs, snapshot

# Of the user's own: a network that fails in its first step until the file "mended" appears in the working directory,
# a callback that leaves in its process all that a run may change there, and a logger that tells how it is ended.
MINE = """
import json, os, pathlib, signal
import torch
from pytorch_lightning import Callback
from pytorch_lightning.loggers import CSVLogger

class Net(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.linear = torch.nn.Linear(784, 10)
        self.fails = kind == "bad"

    def forward(self, images):
        if self.fails and len(images) > 1 and not pathlib.Path("mended").exists():
            raise RuntimeError("the loss has gone\\nfor good")
        return self.linear(images.flatten(1))

def state():
    backends = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    return [os.getcwd(), os.environ.get("LEAKED"), torch.get_num_threads(), str(torch.get_default_dtype()),
            torch.are_deterministic_algorithms_enabled(), torch.is_anomaly_enabled(), *backends,
            torch.get_float32_matmul_precision(), str(signal.getsignal(signal.SIGUSR2)), torch.is_grad_enabled()]

class Leak(Callback):
    def __init__(self, file):
        with open(file, "a") as told:
            print(json.dumps(state()), file=told)

    def teardown(self, trainer, module, stage):
        os.environ["LEAKED"] = "1"
        os.chdir("/")
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        torch.autograd.set_detect_anomaly(True)
        torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = True
        torch.set_float32_matmul_precision("medium")
        torch.set_grad_enabled(False)

class Run:
    def __init__(self, file):
        self.file = file
    def log(self, what):
        with open(self.file, "a") as told:
            print(what, file=told)
    def finish(self):
        self.log("finish")

class Told(CSVLogger):
    def __init__(self, file, save_dir):
        super().__init__(save_dir)
        self.run = Run(file)
    experiment = property(lambda self: self.run)
    def log_metrics(self, metrics, step=None): ...
    def log_hyperparams(self, *args, **kwargs): ...
    def save(self): ...
    def finalize(self, status):
        self.run.log(status)
"""
OWN_NET = ("model=torchvision", "~model.net", "+model.net._target_=mine.Net")
KINDS = "+model.net.kind=good,bad,other"
GOOD, BAD, OTHER = "model.net.kind@good", "model.net.kind@bad", "model.net.kind@other"
# The one that begins joblib's processes then has no need of torch, which each of them loads.
LAUNCHERS = {"basic": ["hydra/launcher=basic"], "joblib": ["hydra/launcher=joblib", "sweep.preflight=false"]}


@pytest.fixture
def mine(tmp_path: Path) -> dict[str, str]:
    """The environment in which the user's own module is found."""
    (tmp_path / "mine.py").write_text(MINE)
    return {"PYTHONPATH": str(tmp_path)}


def config(job: Path) -> dict[str, dict[str, object]]:
    return yaml.safe_load((job / ".hydra" / "config.yaml").read_text())


# --- folders ---


def test_folders_are_named_by_what_sets_jobs_apart(door: Door, tmp_path: Path) -> None:
    sizes = "[" + ",".join(["16"] * 50) + "]"
    swept = ("optimizer.lr=0.1,0.2", f"model.hidden_sizes=[16],{sizes}", "+experiment/lenet_schedules=constant")
    door("train.py", "-m", *swept, *TINY, "seed=3", "hydra.sweep.dir=sweep")
    names = jobs(tmp_path / "sweep")
    assert len(names) == 4
    for name in names:
        assert re.fullmatch(r"model\.hidden_sizes@_16_[\w+.@-]*-[0-9a-f]{8}", name), name
        assert len(name) <= 100
        found = config(tmp_path / "sweep" / name)
        if "optimizer.lr@" in name:  # of the others the hash alone tells
            assert f"optimizer.lr@{found['optimizer']['lr']}" in name
    assert "seed" not in "".join(names), "it is the same in all"

    door("train.py", "-m", "+experiment/lenet_schedules=constant,cosine", "seed=1,2", *TINY, "hydra.sweep.dir=groups")
    pattern = r"experiment_lenet_schedules@(constant|cosine)\+seed@[12]-[0-9a-f]{8}"
    assert len([name for name in jobs(tmp_path / "groups") if re.fullmatch(pattern, name)]) == 4

    door("train.py", "-m", *TINY, "hydra.sweep.dir=alone")
    assert jobs(tmp_path / "alone") == {"0"}


def test_networks_swept_over_lie_in_one_folder(door: Door, tmp_path: Path) -> None:
    door("train.py", "-m", "model=mlp,lenet", *TINY)
    (sweep,) = (tmp_path / "logs" / "sweeps" / "mlp_fashion_mnist_mini").iterdir()
    assert jobs(sweep) == {"model@mlp", "model@lenet"}
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["sweeps"]


def test_what_an_experiment_sweeps_over_can_be_changed(door: Door, tmp_path: Path) -> None:
    given = ("experiment=mlp_activations", "data=fashion_mnist_mini", "model.activation=tanh", "seed=3,4")
    door("train.py", *given, *TINY, "hydra.sweep.dir=sweep")
    assert jobs(tmp_path / "sweep") == {"seed@3", "seed@4"}
    assert config(tmp_path / "sweep" / "seed@3")["model"]["activation"] == "tanh"


def test_a_sweeps_folder_may_be_called_anything_and_is_not_taken_twice(door: Door, tmp_path: Path) -> None:
    odd = "hydra.sweep.dir=\"a 'sweep', really\""
    (tmp_path / "a 'sweep', really" / "report.html" / "in the way").mkdir(parents=True)
    done = door("train.py", "-m", "seed=1,2", *TINY, odd)
    assert "2 of 2 jobs finished" in done.stdout, "a report that cannot be written is no failed sweep"
    assert "to make it later: uv run scripts/report.py" in done.stderr
    assert {"seed@1", "seed@2"} <= jobs(tmp_path / "a 'sweep', really")
    done = door("train.py", "-m", "seed=3,4", *TINY, odd, expect=2)
    assert "holds a sweep already: go on with it by sweep.resume=" in done.stderr


# --- failures ---


@pytest.mark.parametrize("launcher", list(LAUNCHERS))
@pytest.mark.counted
def test_a_failing_job_leaves_the_others_alone_and_is_run_again_alone(
    door: Door, root: Path, tmp_path: Path, mine: dict[str, str], launcher: str
) -> None:
    given = (*OWN_NET, KINDS, *TINY, *LAUNCHERS[launcher])
    done = door("train.py", "-m", *given, "hydra.sweep.dir=sweep", expect=1, **mine)
    sweep = tmp_path / "sweep"
    assert {job: run_json(sweep / job)["outcome"] for job in jobs(sweep)} == {
        **{GOOD: "finished", OTHER: "finished"},
        BAD: "failed",
    }
    typed = shlex.join([str(root / "scripts" / "train.py"), "-m", *given, "hydra.sweep.dir=sweep"])
    assert {run_json(sweep / job)["command"] for job in jobs(sweep)} == {typed}
    assert 'raise RuntimeError("the loss has gone' in (sweep / BAD / "error.txt").read_text()
    summary = done.stderr[done.stderr.index("2 of 3 jobs finished") :]
    assert re.search(r"failed .*kind@bad .*\n.*the loss has gone\n", summary)
    assert f"go on with: uv run scripts/train.py -m sweep.resume={sweep}\n" in summary

    # With one more choice, in another order: what is finished is not touched, and a bare resume then means all four.
    before = snapshot(sweep / GOOD) | snapshot(sweep / OTHER)
    more = ("-m", "+model.net.kind=new,bad,other,good", "sweep.resume=sweep")
    assert "3 of 4 jobs finished" in door("train.py", *more, expect=1, **mine).stderr
    (tmp_path / "mended").touch()
    done = door("train.py", "-m", "sweep.resume=sweep", **mine)
    assert "4 of 4 jobs finished" in done.stdout
    assert snapshot(sweep / GOOD) | snapshot(sweep / OTHER) == before
    assert config(sweep / "model.net.kind@new")["model"]["net"]["kind"] == "new"
    assert not (sweep / BAD / "error.txt").exists()
    assert_same(sweep / BAD, sweep / OTHER)


def test_on_error_stop_begins_no_further_job(door: Door, tmp_path: Path, mine: dict[str, str]) -> None:
    given = (*OWN_NET, KINDS, *TINY, "sweep.on_error=stop", "hydra.sweep.dir=sweep")
    done = door("train.py", "-m", *given, expect=1, **mine)
    assert not (tmp_path / "sweep" / OTHER / "run.json").exists()
    assert "1 of 3 jobs finished" in done.stderr
    assert re.search(r"not begun .*kind@other", done.stderr)


def test_a_job_that_diverged_is_finished(door: Door, tmp_path: Path) -> None:
    given = ("optimizer.lr=1e30,0.1", "trainer.max_epochs=2", *TINY[1:], "hydra.sweep.dir=sweep")
    assert "2 of 2 jobs finished" in door("train.py", "-m", *given).stdout
    assert run_json(tmp_path / "sweep" / "optimizer.lr@1e+30")["outcome"] == "diverged"
    assert "(2 finished before)" in door("train.py", "-m", "sweep.resume=sweep").stdout


# --- before the first job ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model=mlp,lenet,mpl"], "Did you mean model=mlp"),
        (["optimizer.lr=0.1,o.2", "seed=0"], "optimizer.lr.*in the job optimizer.lr=o.2"),
        (["optimizer.lr=0.1,1e-1"], "the same configuration.*optimizer.lr=0.1 .*leave one of them out"),
        (["optimizer.lr=0.1,0.2", "seed=0,1", "hydra.sweep.subdir=lr_${optimizer.lr}"], "two jobs.*lr_0.1"),
        (["seed=0,1", "sweep.on_error=carry_on"], "sweep.on_error=carry_on"),
        (["seed=0,1", "sweep.seeds=0"], "sweep.seeds=0"),
        (["sweep.resume=nowhere"], "nowhere.*sweep.json"),
        (["model.dropout=0.1,0.2,1.5"], r"1.5\nin the job model.dropout=1.5"),
        (["optimizer.lr=0.1,-1", "seed=0,1"], r"learning rate: -1.*\nin the job optimizer.lr=-1 seed=0 and 1 more"),
    ],
)
def test_what_is_wrong_with_any_point_is_said_before_the_first_job(
    door: Door, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = door("train.py", "-m", *arguments, *TINY, expect=2)
    assert re.search(message, done.stderr, re.DOTALL), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    assert not (tmp_path / "logs").exists(), "not even a folder"


def test_sweeps_are_begun_once_and_by_the_right_command(door: Door, tmp_path: Path) -> None:
    assert "add -m" in door("train.py", "sweep.resume=x", expect=2).stderr
    done = door("train.py", "-m", "seed=0,1", expect=2, LOCAL_RANK="1", RANK="1", WORLD_SIZE="2")
    assert "start it once" in done.stderr
    assert not list(tmp_path.iterdir())


# --- what jobs share ---


def test_nothing_that_a_job_leaves_in_its_process_reaches_the_next(
    door: Door, tmp_path: Path, mine: dict[str, str]
) -> None:
    told = ["+callbacks.leak._target_=mine.Leak", f"+callbacks.leak.file={tmp_path}/states"]
    door("train.py", "-m", "seed=0,1,2", *TINY, *told, "sweep.preflight=false", "hydra.sweep.dir=sweep", **mine)
    states = [json.loads(line) for line in (tmp_path / "states").read_text().splitlines()]
    assert len(states) == 3
    assert states[0] == states[1] == states[2]
    assert states[0][:2] == [str(tmp_path), None]


def test_each_jobs_loggers_are_ended_with_it(door: Door, tmp_path: Path, mine: dict[str, str]) -> None:
    logger = ("logger=none", "+logger.mine={_target_: mine.Told, file: '${folder}/told', save_dir: '${folder}'}")
    given = (*OWN_NET, KINDS, *TINY[:2], *logger, "sweep.preflight=false", "hydra.sweep.dir=sweep")
    door("train.py", "-m", *given, expect=1, **mine)
    told = {job: (tmp_path / "sweep" / job / "told").read_text().split() for job in (GOOD, BAD, OTHER)}
    assert told[GOOD] == told[OTHER] == ["success", "success", "finish"], "after training, the test, and at the end"
    assert told[BAD] == ["failed", "finish"]


def test_references_mean_the_job_that_they_are_in(door: Door, tmp_path: Path) -> None:
    given = ("optimizer.lr=0.01,0.02", "optimizer.momentum=${optimizer.lr}", *TINY, "hydra.sweep.dir=sweep")
    door("train.py", "-m", *given)
    for rate in (0.01, 0.02):
        job = tmp_path / "sweep" / f"optimizer.lr@{rate}"
        assert config(job)["optimizer"]["momentum"] == rate
        assert "optimizer.momentum=${optimizer.lr}" in yaml.safe_load((job / ".hydra" / "overrides.yaml").read_text())


# --- several processes a job ---

FEW = ("model.dropout=0.3", "trainer.max_epochs=2", "trainer.limit_train_batches=3", "logger=none")


@pytest.fixture(scope="module")
def singles(tmp_path_factory: pytest.TempPathFactory, doors: Doors) -> Path:
    """The points of the sweep, each run by a command of its own."""
    folder = tmp_path_factory.mktemp("singles")
    for trainer in ("ddp_cpu", "cpu"):
        doors(folder)("train.py", *FEW, f"trainer={trainer}", f"hydra.run.dir={trainer}")
    return folder


@pytest.mark.parametrize("launcher", list(LAUNCHERS))
def test_jobs_of_one_and_several_processes_come_to_what_single_runs_come_to(
    door: Door, tmp_path: Path, singles: Path, launcher: str
) -> None:
    done = door("train.py", "-m", *FEW, "trainer=ddp_cpu,cpu", *LAUNCHERS[launcher], "hydra.sweep.dir=sweep")
    for trainer, count in (("ddp_cpu", 2), ("cpu", 1)):
        job = tmp_path / "sweep" / f"trainer@{trainer}"
        assert_same(job, singles / trainer)
        assert f"{count} x CPU" in (job / "train.log").read_text()
        assert "test/acc" in json.loads((job / "metrics.json").read_text())
    assert done.stderr.count("epoch 1/2") == 2, "each is trained once"
