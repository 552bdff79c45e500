"""Signals that arrive at an awkward moment."""

import signal
from types import SimpleNamespace

import pytest
import torch

from imgclf.callbacks.interrupt import StopOnSignal
from imgclf.interruption import Interrupted


def test_a_signal_that_comes_while_processes_ask_each_other_is_kept_for_the_next_time() -> None:
    stop = StopOnSignal(checkpoint=None)
    came = [False, True, False]  # during the exchanges, in turn

    def reduce(value: torch.Tensor, reduce_op: str) -> torch.Tensor:
        if came.pop(0):
            stop._note(signal.SIGTERM, None)
        return value

    strategy = SimpleNamespace(root_device=torch.device("cpu"), reduce=reduce)
    trainer = SimpleNamespace(world_size=2, strategy=strategy, accumulate_grad_batches=1, is_last_batch=False)
    for batch in (0, 1):
        stop.on_train_batch_end(trainer, None, None, None, batch)
    with pytest.raises(Interrupted, match="SIGTERM"):
        stop.on_train_batch_end(trainer, None, None, None, 2)
