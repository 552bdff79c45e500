"""Signals that arrive at an awkward moment."""

import signal
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from imgclf.callbacks import interrupt
from imgclf.callbacks.interrupt import StopOnSignal
from imgclf.distributed import LOOK_EVERY
from imgclf.errors import Interrupted


def test_processes_ask_each_other_every_few_steps_and_lose_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "can_resume_after", lambda trainer: True)
    stop = StopOnSignal(checkpoint=None)
    asked: list[int] = []
    trainer: Any = SimpleNamespace(world_size=2, global_step=0)

    def reduce(value: torch.Tensor, reduce_op: str) -> torch.Tensor:
        asked.append(trainer.global_step)
        if len(asked) == 2:  # while they ask
            stop._note(signal.SIGTERM, None)
        return value

    trainer.strategy = SimpleNamespace(root_device=torch.device("cpu"), reduce=reduce)

    def train() -> None:
        for step in range(1, 100):
            trainer.global_step = step
            stop.on_train_batch_end(trainer, None, None, None, step)  # type: ignore[arg-type]

    with pytest.raises(Interrupted, match="SIGTERM"):
        train()
    assert asked == [LOOK_EVERY, 2 * LOOK_EVERY, 3 * LOOK_EVERY]
