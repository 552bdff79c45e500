"""Lightning's Trainer: a precision that suits the machine, settings that make no sense refused, less to do a step.

What Lightning has no setting for is overridden here and nowhere else. Measured on the multilayer perceptron of the
default run, whose step takes some 0.9 ms on one core.
"""

import logging
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import pytorch_lightning
import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging, WeightAveraging
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.trainer.states import RunningStage
from pytorch_lightning.utilities.model_helpers import is_overridden

from imgclf.callbacks.limits import Limits
from imgclf.errors import InputError
from imgclf.schedules.base import Schedule

Precision = Literal[
    "auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "32", "bf16", "16", "64", 16, 32, 64
]

# Smallest sensible values, of which Lightning looks at some only when it divides by them.
_AT_LEAST = {
    "accumulate_grad_batches": 1,
    "check_val_every_n_epoch": 1,
    "gradient_clip_val": 0,
    "max_steps": -1,
    "log_every_n_steps": 0,
    "max_epochs": -1,
    "num_sanity_val_steps": -1,
}


class Trainer(pytorch_lightning.Trainer):
    """As :class:`pytorch_lightning.Trainer`, where ``precision`` may be ``auto``.

    Args:
        precision: ``auto`` computes in bfloat16, with weights, sums and the optimizer in float32 (``bf16-mixed``),
            where the device multiplies bfloat16 itself, else in float32 (``32-true``).
        accelerator: as Lightning has it.
        settings: all other arguments of Lightning's Trainer.

    Raises:
        InputError: a value makes no sense, though Lightning takes it.
    """

    def __init__(self, precision: Precision | None = "auto", accelerator: str = "auto", **settings: Any) -> None:
        _require_sensible(settings)
        device = _device_type(accelerator)
        if settings.get("sync_batchnorm") and device == "cpu":
            raise InputError("trainer.sync_batchnorm=true: torch has it for GPUs only; leave it out on a processor")
        given = settings.get("callbacks") or []
        callbacks = [given] if isinstance(given, Callback) else list(given)
        _require_compatible(callbacks)
        max_steps, max_time = settings.pop("max_steps", None), settings.pop("max_time", None)
        self.limits = Limits(-1 if max_steps is None else max_steps, max_time)
        self.has_limits = self.limits.max_steps != -1 or max_time is not None
        if self.has_limits:
            settings["max_epochs"] = -1 if settings.get("max_epochs") is None else settings["max_epochs"]
            callbacks.insert(0, self.limits)
        settings["callbacks"] = callbacks
        if precision == "auto":
            precision = "bf16-mixed" if _multiplies_bfloat16(device) else "32-true"
        if device == "cpu" and precision in ("16-mixed", "16", 16):
            raise InputError(f"trainer.precision={precision}: a processor has it not; give bf16-mixed, 32-true or auto")
        if device == "cuda" and str(precision).startswith("bf16") and not torch.cuda.is_bf16_supported():
            raise InputError(f"trainer.precision={precision}: this GPU has it not; give 16-mixed, 32-true or auto")
        super().__init__(precision=precision, accelerator=accelerator, **settings)
        if settings.get("profiler") in ("simple", "advanced"):  # whose table Lightning writes into its log
            logging.getLogger("pytorch_lightning.profilers").setLevel(logging.INFO)
        if type(self.profiler) is PassThroughProfiler:  # type: ignore[has-type]
            self.profiler = _NoProfiler()
        for callback in self.callbacks:  # type: ignore[attr-defined]
            _skip_idle_hooks(callback)

    @property
    def is_at_limit(self) -> bool:
        """Whether ``max_steps`` or ``max_time`` has ended the training."""
        return self.limits.reached

    @property
    def step_limit(self) -> int:
        """``max_steps`` as given, of which Lightning is not told; -1 for none."""
        return self.limits.max_steps

    @property
    def estimated_stepping_batches(self) -> int | float:
        """Optimizer steps of the whole run; infinite where it has no end."""
        steps = super().estimated_stepping_batches
        return steps if self.step_limit == -1 else min(steps, self.step_limit)

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


def _require_sensible(settings: dict[str, Any]) -> None:
    for name, least in _AT_LEAST.items():
        value = settings.get(name)
        if isinstance(value, int | float) and value < least:
            raise InputError(f"trainer.{name}={value}: expected {least} or more")
    if settings.get("limit_train_batches") == 0:
        raise InputError("trainer.limit_train_batches=0: nothing would be trained; give a number from 1, or a share")
    if settings.get("overfit_batches"):
        raise InputError(
            f"trainer.overfit_batches={settings['overfit_batches']}: Lightning would build the loaders anew; give "
            "debug=overfit, or trainer.limit_train_batches=N data.shuffle=false"
        )
    if settings.get("val_check_interval") == 0:
        raise InputError("trainer.val_check_interval=0: give a number of batches from 1, or a share of an epoch")
    has_end = settings.get("max_steps") not in (None, -1) or settings.get("max_time") is not None
    if "max_epochs" in settings and settings["max_epochs"] is None and not has_end:
        raise InputError("trainer.max_epochs=null: Lightning would take 1000; give the number, or -1 for no end")
    strategy = settings.get("strategy")
    if isinstance(strategy, str) and strategy.startswith(("ddp_spawn", "ddp_fork", "ddp_notebook")):
        raise InputError(f"trainer.strategy={strategy}: the program starts the processes itself; give ddp")


def _require_compatible(callbacks: list[Callback]) -> None:
    """Refuse callbacks that would undo each other's work without a word."""
    averaging = [type(c).__name__ for c in callbacks if isinstance(c, WeightAveraging)]
    if len(averaging) > 1:
        raise InputError(
            f"callbacks: {' and '.join(averaging)} would each put their average into the network; keep one"
        )
    schedule = next((c for c in callbacks if isinstance(c, Schedule)), None)
    if schedule is None:
        return
    if any(isinstance(c, StochasticWeightAveraging) for c in callbacks):
        raise InputError(
            "callbacks: Lightning's StochasticWeightAveraging sets the learning rate, and so does the schedule: give "
            "callbacks=swa"
        )
    if schedule.interval == "batch" and any(isinstance(c, GradientAccumulationScheduler) for c in callbacks):
        raise InputError(
            "schedule.interval=batch: GradientAccumulationScheduler changes how many steps an epoch has, which a "
            "schedule by steps cannot plan; give schedule.interval=epoch"
        )


def _device_type(accelerator: str) -> str:
    """``cuda``, ``cpu`` or another kind of device that ``trainer.accelerator`` stands for on this machine."""
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "cuda"
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return "mps"
    return "cpu" if accelerator == "auto" else accelerator


def _multiplies_bfloat16(device: str) -> bool:
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


class _NoProfiler(PassThroughProfiler):
    """Measures nothing, without making a context of its own for each of the some 60 actions of a step."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        return self._nothing


_STAGES = ("train", "validation", "test", "predict")
# What Lightning asks every callback at every step.
_STEP_HOOKS = (
    *("on_before_backward", "on_after_backward", "on_before_optimizer_step", "on_before_zero_grad"),
    *(f"on_{stage}_batch_{place}" for stage in _STAGES for place in ("start", "end")),
)


def _skip_idle_hooks(callback: Callback) -> None:
    """Hide from Lightning those step hooks of a callback that do nothing: it calls only what is callable.

    Seven callbacks of which each has two of six hooks cost 0.1 ms a step.
    """
    for hook in _STEP_HOOKS:
        if not is_overridden(hook, callback, parent=Callback):
            setattr(callback, hook, None)
