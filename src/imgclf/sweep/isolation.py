"""Nothing of a job is left for the next one in the same process."""

import contextlib
import gc
import logging
import os
import random
import signal
import threading
import warnings
from collections.abc import Iterator

import numpy as np
import torch

_LOGGERS = ("imgclf", "pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric")


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Put back afterwards what a run changes in its process.

    Environment variables (``PL_GLOBAL_SEED``, ``PL_SEED_WORKERS``, ``CUBLAS_WORKSPACE_CONFIG``, ``MASTER_PORT``, ...),
    working directory, random state (Python, numpy, torch), torch's threads, precision and determinism, log handlers,
    warning filters and signal handlers; memory that nothing refers to any more is given back.
    """
    with contextlib.ExitStack() as stack:
        for restored in (_collected, _environment, _random_state, _torch_settings, _log_handlers, _signal_handlers):
            stack.enter_context(restored())
        stack.enter_context(warnings.catch_warnings())
        yield


@contextlib.contextmanager
def _collected() -> Iterator[None]:
    try:
        yield
    finally:
        gc.collect()  # a Trainer and its parts refer to each other
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    before, folder = dict(os.environ), os.getcwd()  # noqa: PTH109
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
        os.chdir(folder)


@contextlib.contextmanager
def _random_state() -> Iterator[None]:
    python, array = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():  # all devices that are in use
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)


@contextlib.contextmanager
def _torch_settings() -> Iterator[None]:
    threads, kind, precision = torch.get_num_threads(), torch.get_default_dtype(), torch.get_float32_matmul_precision()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    anomaly, check_nan = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    gradients = torch.is_grad_enabled()
    cudnn = torch.backends.cudnn
    flags = {name: getattr(cudnn, name) for name in ("benchmark", "deterministic", "allow_tf32", "enabled")}
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_default_dtype(kind)
        torch.set_float32_matmul_precision(precision)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.set_anomaly_enabled(anomaly, check_nan)
        torch.set_grad_enabled(gradients)
        for name, value in flags.items():
            setattr(cudnn, name, value)


@contextlib.contextmanager
def _log_handlers() -> Iterator[None]:
    before = {name: _state(logging.getLogger(name)) for name in _LOGGERS}
    try:
        yield
    finally:
        for name, (handlers, level, propagate) in before.items():
            logger = logging.getLogger(name)
            for handler in [h for h in logger.handlers if h not in handlers]:
                logger.removeHandler(handler)
                handler.close()
            logger.handlers[:] = handlers
            logger.setLevel(level)
            logger.propagate = propagate


def _state(logger: logging.Logger) -> tuple[list[logging.Handler], int, bool]:
    return list(logger.handlers), logger.level, logger.propagate


@contextlib.contextmanager
def _signal_handlers() -> Iterator[None]:
    watched = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
    before = {s: signal.getsignal(s) for s in watched}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for signum, handler in before.items():
                if handler is not None and signal.getsignal(signum) != handler:
                    signal.signal(signum, handler)
