"""What users might bring: networks and callbacks. With ``OWN`` in its environment a command finds them."""

import gc
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor, nn

from imgclf.schedules.base import Schedule

OWN = {"PYTHONPATH": str(Path(__file__).parent)}


def argument(key: str, target: str, **settings: Any) -> str:
    """``+callbacks.stop={_target_: own.Stop, ...}``: the argument by which a run gets a part of its own."""
    given = {"_target_": f"own.{target}", **settings}
    return f"+{key}={{{', '.join(f'{name}: {value}' for name, value in given.items())}}}"


def network(target: str, **settings: Any) -> tuple[str, ...]:
    """The arguments by which it gets a network of its own."""
    return ("model=torchvision", "~model.net", argument("model.net", target, **settings))


def stopping(file: Path, name: str, **when: Any) -> str:
    """The argument of a run that a signal of this name will stop."""
    file.touch()
    return argument("callbacks.stop", "Stop", file=file, name=name, **when)


class Normed(nn.Sequential):
    """28x28 grey images to 10 logits, with batch normalisation, which each of several processes measures for itself."""

    def __init__(self) -> None:
        features = (nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2))
        super().__init__(*features, nn.Flatten(), nn.Linear(676, 10))


class Failing(nn.Module):
    """A layer that fails in its first step if it is of the kind bad, until there is a file ``mended``."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.linear, self.fails = nn.Linear(784, 10), kind == "bad"

    def forward(self, images: Tensor) -> Tensor:
        if self.fails and len(images) > 1 and not Path("mended").exists():
            raise RuntimeError("the loss has gone\nfor good")
        return self.linear(images.flatten(1))


class Stop(Callback):
    """Send a signal once: when an optimizer step begins, or in the middle of work with the run's files.

    Args:
        file: is there until the signal is sent.
        name: of the signal.
        step: the first that it is sent at.
        files: sent when so many files of the run have been opened, renamed or removed.
        to_parent: to the process that has started this one.
        rank: which of several processes sends it.
        job: part of the folder's name, where only one job of a sweep is to send it.
    """

    def __init__(
        self, file: str, name: str, step: int = 0, files: int = 0, to_parent: bool = False, rank: int = 0, job: str = ""
    ) -> None:
        self.file, self.signal, self.step, self.files = Path(file), signal.Signals[name], step, files
        self.to_parent, self.rank, self.job = to_parent, rank, job
        if files and int(os.environ.get("RANK", "0")) == rank:
            sys.addaudithook(self.count)

    def count(self, event: str, arguments: tuple[Any, ...]) -> None:
        # TensorBoard's files a thread writes, now or then.
        is_file = event in ("open", "os.rename", "os.remove") and self.file.name not in str(arguments[0])
        if is_file and "/run" in str(arguments[0]) and "tfevents" not in str(arguments[0]):
            self.files -= 1
            if self.files == 0:
                self.send()

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        is_meant = trainer.global_rank == self.rank and self.job in trainer.default_root_dir
        if is_meant and 0 < self.step <= trainer.global_step:
            self.send()

    def on_test_start(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 0:  # of an evaluation
            self.send()

    def send(self) -> None:
        if self.file.exists():
            self.file.unlink()
            os.kill(os.getppid() if self.to_parent else os.getpid(), self.signal)


class Halved(Schedule):
    """Half the rate, whatever else a schedule is given."""

    def __init__(self, **common: Any) -> None:
        super().__init__(**common)

    def decay(self, update: int, total_updates: int | None) -> float:
        return 0.5


class Brake(Callback):
    """Half a second more an epoch for as long as a file is there, which the test deletes when it has seen enough."""

    def __init__(self, file: str) -> None:
        self.file = Path(file)

    def on_train_epoch_start(self, *_: Any) -> None:
        if self.file.exists():
            time.sleep(0.5)


class Gauge(Callback):
    """Add a line of JSON to a file at each epoch's end: what the process holds."""

    def __init__(self, file: str) -> None:
        self.file = Path(file)

    def on_train_epoch_end(self, *_: Any) -> None:
        gc.collect()
        process = Path("/proc/self")
        resident = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        found = {"bytes": resident, "files": len(list((process / "fd").iterdir())), "threads": threading.active_count()}
        with self.file.open("a") as out:
            print(json.dumps(found), file=out)


class Leak(Callback):
    """Note what the process is like when it is made, and leave in it at the end much that a run may change there."""

    def __init__(self, file: str) -> None:
        cudnn = torch.backends.cudnn
        state = [os.getcwd(), os.environ.get("LEAKED"), torch.get_num_threads(), str(torch.get_default_dtype())]  # noqa: PTH109
        state += [torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled(), cudnn.benchmark]
        with Path(file).open("a") as told:
            print(json.dumps(state), file=told)

    def teardown(self, *_: Any, **__: Any) -> None:
        os.environ["LEAKED"] = "1"
        os.chdir("/")
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_default_dtype(torch.float64)
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = True
        torch.set_grad_enabled(False)


class Shifted(nn.Module):
    """Cross-entropy with the labels moved on; beyond the last class a GPU's kernel asserts, and its process is lost."""

    def __init__(self, by: int) -> None:
        super().__init__()
        self.by = by

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, labels + self.by)
