"""Lightning's Trainer, with a precision that suits the machine and less to do between the steps of a small network."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import pytorch_lightning
from pytorch_lightning import Callback
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.trainer.states import RunningStage
from pytorch_lightning.utilities.model_helpers import is_overridden

from imgclf.run.devices import device_type, multiplies_bfloat16

Precision = Literal[
    "auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "32", "bf16", "16", "64", 16, 32, 64
]


class Trainer(pytorch_lightning.Trainer):
    """As :class:`pytorch_lightning.Trainer`, where ``precision`` may be ``auto``.

    Args:
        precision: ``auto`` computes in bfloat16, with weights, sums and the optimizer in float32 (``bf16-mixed``),
            where the device multiplies bfloat16 itself, else in float32 (``32-true``).
        accelerator: as Lightning has it.
        settings: all other arguments of Lightning's Trainer.
    """

    def __init__(self, precision: Precision | None = "auto", accelerator: str = "auto", **settings: Any) -> None:
        if precision == "auto":
            precision = "bf16-mixed" if multiplies_bfloat16(device_type(accelerator)) else "32-true"
        super().__init__(precision=precision, accelerator=accelerator, **settings)
        if type(self.profiler) is PassThroughProfiler:  # type: ignore[has-type]
            self.profiler = NoProfiler()
        for callback in self.callbacks:  # type: ignore[attr-defined]
            skip_idle_hooks(callback)

    @property
    def training(self) -> bool:
        """Whether the trainer trains; asked some 15 times a step, so without Lightning's comparison of texts."""
        return self.state.stage is RunningStage.TRAINING

    @training.setter
    def training(self, value: bool) -> None:
        # As Lightning does: leaving one stage for none.
        if value:
            self.state.stage = RunningStage.TRAINING
        elif self.training:
            self.state.stage = None


class NoProfiler(PassThroughProfiler):
    """Measures nothing, without making a context of its own for each of the some 60 actions of a step."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        return self._nothing


# What Lightning asks every callback at every step.
STEP_HOOKS = (
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_before_zero_grad",
    *(
        f"on_{stage}_batch_{place}"
        for stage in ("train", "validation", "test", "predict")
        for place in ("start", "end")
    ),
)


def skip_idle_hooks(callback: Callback) -> None:
    """Hide from Lightning those step hooks of a callback that do nothing.

    Lightning calls only what is callable. Seven callbacks of which each has two of six hooks cost a tenth of a
    millisecond a step, as much as a tenth of a step of a small multilayer perceptron.
    """
    for hook in STEP_HOOKS:
        if not is_overridden(hook, callback, parent=Callback):
            setattr(callback, hook, None)
