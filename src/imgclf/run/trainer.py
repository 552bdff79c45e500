"""Lightning's Trainer, with a precision that suits the machine and less to do between the steps of a small network."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import pytorch_lightning
import torch
from pytorch_lightning import Callback
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.trainer.states import RunningStage
from pytorch_lightning.utilities.model_helpers import is_overridden

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


def device_type(accelerator: str) -> str:
    """``cuda``, ``cpu`` or another kind of device that ``trainer.accelerator`` stands for on this machine."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "cuda"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "mps"
    return "cpu" if accelerator == "auto" else accelerator


def multiplies_bfloat16(device: str) -> bool:
    """Whether the device has instructions for it: AVX512-BF16 or AMX on a processor, Ampere and later among GPUs.

    Without them bfloat16 is emulated, which is slower than float32.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        # torch tells through these alone; a version without them counts as a processor without the instructions.
        questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, question, lambda: False)() for question in questions)
    return False
