"""Lightning's Trainer, with a precision that suits the machine and less to do between the steps of a small network."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import pytorch_lightning
import torch
from pytorch_lightning import Callback
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.trainer.states import RunningStage
from pytorch_lightning.utilities.model_helpers import is_overridden

from imgclf.errors import InputError

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


# Smallest sensible values, of which Lightning looks at some only when it divides by them.
_AT_LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "log_every_n_steps": 0,
    "max_epochs": -1,
    "num_sanity_val_steps": -1,
}


def require_sensible(settings: Mapping[Any, Any]) -> None:
    """Look at the arguments of a Trainer that trains for what Lightning takes without a word, or fails on later.

    Not in the constructor, which the check of configurations reads: it would no longer see what is handed on.

    Raises:
        InputError: a value makes no sense.
    """
    for name, least in _AT_LEAST.items():
        value = settings.get(name)
        if isinstance(value, int | float) and value < least:
            raise InputError(f"trainer.{name}={value}: expected {least} or more")
    if settings.get("limit_train_batches") == 0:
        raise InputError("trainer.limit_train_batches=0: nothing would be trained; give a number from 1, or a share")
    if settings.get("val_check_interval") == 0:
        raise InputError("trainer.val_check_interval=0: give a number of batches from 1, or a share of an epoch")
    has_end = settings.get("max_steps") not in (None, -1) or settings.get("max_time") is not None
    if "max_epochs" in settings and settings["max_epochs"] is None and not has_end:
        raise InputError("trainer.max_epochs=null: Lightning would take 1000; give the number, or -1 for no end")
    strategy = settings.get("strategy")
    if isinstance(strategy, str) and strategy.startswith(("ddp_spawn", "ddp_fork", "ddp_notebook")):
        raise InputError(f"trainer.strategy={strategy}: the program starts the processes itself; give ddp")
    device, precision = device_type(settings.get("accelerator", "auto")), str(settings.get("precision"))
    if device == "cpu" and precision in ("16-mixed", "16"):
        raise InputError(f"trainer.precision={precision}: a processor has it not; give bf16-mixed, 32-true or auto")
    if device == "cuda" and precision.startswith("bf16") and not torch.cuda.is_bf16_supported():
        raise InputError(f"trainer.precision={precision}: this GPU has it not; give 16-mixed, 32-true or auto")


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
