"""The ends of a run other than its number of epochs: ``trainer.max_steps`` and ``trainer.max_time``."""

from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Timer

from imgclf.distributed import LOOK_EVERY


class Limits(Timer):
    """Asks for the end of training after so many optimizer steps, or so much time, that of a resumed run included.

    With Lightning's own ``max_steps`` the last epoch, if it is not complete, would not be validated, and would count as
    done on resuming.

    Args:
        max_steps: -1 for no such end.
        max_time: as Lightning's Trainer has it; None for no such end. Several processes look at it every few steps.
    """

    def __init__(self, max_steps: int = -1, max_time: Any = None) -> None:
        super().__init__(max_time)
        self.max_steps = max_steps
        self.reached = False

    def on_fit_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Nothing, where Lightning's would look at the time."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._look(trainer)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        # Not between two optimizer steps, since gradients that wait are in no checkpoint.
        loop = trainer.fit_loop.epoch_loop
        if loop.batch_progress.current.ready % trainer.accumulate_grad_batches == 0 or trainer.is_last_batch:
            self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        self.reached = 0 <= self.max_steps <= trainer.global_step
        left = self.time_remaining()
        if left is not None and (trainer.world_size == 1 or trainer.global_step % LOOK_EVERY == 0):
            self.reached |= trainer.strategy.reduce_boolean_decision(left <= 0, all=False)
        trainer.should_stop = trainer.should_stop or self.reached
