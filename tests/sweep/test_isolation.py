"""What a run may change in its process, and finds as it was afterwards."""

import logging
import os
import random
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import Trainer, seed_everything

from imgclf.log import log_to, quieten
from imgclf.sweep.isolation import isolated


def random_numbers() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))


def handlers() -> list[logging.Handler]:
    return logging.getLogger("imgclf").handlers[:]


def loud() -> int:
    return logging.getLogger("pytorch_lightning").level


WATCHED: dict[str, Callable[[], Any]] = {
    "environment": lambda: dict(os.environ),
    "folder": os.getcwd,
    "threads": torch.get_num_threads,
    "dtype": torch.get_default_dtype,
    "precision": torch.get_float32_matmul_precision,
    "deterministic": torch.are_deterministic_algorithms_enabled,
    "warn only": torch.is_deterministic_algorithms_warn_only_enabled,
    "anomaly": torch.is_anomaly_enabled,
    "gradients": torch.is_grad_enabled,
    "cudnn": lambda: (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic),
    "handlers": handlers,
    "level": loud,
    "filters": lambda: warnings.filters[:],
    "SIGTERM": lambda: signal.getsignal(signal.SIGTERM),
    "SIGINT": lambda: signal.getsignal(signal.SIGINT),
}


def change_everything(folder: Path) -> None:
    seed_everything(7, workers=True, verbose=False)
    os.environ["MASTER_PORT"] = "12345"
    os.environ.pop("HOME", None)
    os.chdir(folder)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    Trainer(deterministic="warn", benchmark=True, detect_anomaly=True, logger=False, accelerator="cpu")
    torch.set_anomaly_enabled(True)
    torch.set_grad_enabled(False)
    log_to(folder / "train.log")
    quieten()
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back(tmp_path: Path, fails: bool) -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.INFO)  # whatever other tests in this process have left
    before = {name: read() for name, read in WATCHED.items()}
    changed = {}
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    expected = random_numbers()
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    try:
        with isolated():
            change_everything(tmp_path)
            changed = {name: read() for name, read in WATCHED.items()}
            if fails:
                raise KeyError("a job that failed")
    except KeyError:
        assert fails
    after = {name: read() for name, read in WATCHED.items()}
    for name, value in before.items():
        assert changed[name] != value, f"{name}: this test must change it"
        assert after[name] == value, name
    assert random_numbers() == expected


def test_log_files_are_closed(tmp_path: Path) -> None:
    with isolated():
        log_to(tmp_path / "train.log")
        assert str(tmp_path / "train.log") in open_files()
    assert str(tmp_path / "train.log") not in open_files()


def open_files() -> set[str]:
    links = Path("/proc/self/fd").iterdir()
    return {str(link.readlink()) for link in links if link.is_symlink()}
