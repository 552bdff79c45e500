"""A training whose loss is no number any more."""

import math
from pathlib import Path

from pytorch_lightning import Callback, LightningModule, Trainer

from imgclf.callbacks.epoch_table import learning_rate
from imgclf.errors import Diverged

LOSSES = {"train/loss": "training", "val/loss": "validation"}


class StopOnDivergence(Callback):
    """End training with the first epoch whose mean loss is infinite or not a number.

    The means are on the host at an epoch's end anyway, so that looking at them costs nothing. Raised before the
    checkpoint is written, which Lightning leaves for last, so that ``last.ckpt`` and ``best.ckpt`` keep the weights of
    the epochs before. Every process raises at the same epoch, as the means are those of all processes.

    Raises:
        Diverged: at the end of that epoch.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for name, title in LOSSES.items():
            loss = float(trainer.callback_metrics.get(name, 0.0))
            if not math.isfinite(loss):
                raise Diverged(f"the {title} loss became {loss} in {_where(trainer)}. {_remedy(trainer)}")


def _where(trainer: Trainer) -> str:
    """The epoch and, as nobody has looked in between, its first and last optimizer step, all counted from 1."""
    steps = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.current.completed
    first, last = max(1, trainer.global_step - steps + 1), trainer.global_step
    of_all = f" of {trainer.max_epochs}" if (trainer.max_epochs or -1) > 0 else ""
    rate = f"learning rate {learning_rate(trainer):.3g}"
    return f"epoch {trainer.current_epoch + 1}{of_all} (optimizer steps {first} to {last}, {rate})"


def _remedy(trainer: Trainer) -> str:
    ways = "Lower optimizer.lr, begin with schedule.warmup_updates, or clip with trainer.gradient_clip_val=1.0"
    if str(trainer.precision).startswith("16"):
        ways += "; trainer.precision=bf16-mixed or 32-true has larger numbers than 16 bits"
    folder = Path(trainer.default_root_dir)
    if not (folder / "checkpoints" / "last.ckpt").exists():
        return f"{ways}."
    return (
        f"{ways}. The checkpoints in {folder} are from before: resume={folder} trainer.gradient_clip_val=1.0 goes on "
        "from there."
    )
