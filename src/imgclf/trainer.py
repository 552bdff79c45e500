"""Lightning's Trainer: a precision that suits the machine, settings that make no sense refused, less to do a step.

What Lightning has no setting for is overridden here and nowhere else.
"""

import itertools
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import pytorch_lightning
import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging, WeightAveraging
from pytorch_lightning.profilers import PassThroughProfiler
from pytorch_lightning.trainer.states import RunningStage
from pytorch_lightning.utilities.model_helpers import is_overridden

from imgclf.callbacks.stop import Limits
from imgclf.errors import InputError

Precision = Literal[
    "auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "32", "bf16", "16", "64", 16, 32, 64
]
# Settings that Lightning takes, or trips over later: the least value; or which values, on which device, and what to do
# instead.
_LEAST = {"max_steps": -1, "accumulate_grad_batches": 1, "check_val_every_n_epoch": 1, "gradient_clip_val": 0}
_LEAST |= {"log_every_n_steps": 0, "num_sanity_val_steps": -1}
_REFUSED: tuple[tuple[str, Any, str], ...] = (
    ("max_epochs", lambda v, _: v == 0, "nothing would be trained; scripts/evaluate.py tests a run"),
    ("max_steps", lambda v, _: v == 0, "nothing would be trained; give a number from 1"),
    ("limit_train_batches", lambda v, _: v == 0, "nothing would be trained; give a number from 1, or a share"),
    ("val_check_interval", lambda v, _: v == 0, "give a number of batches from 1, or a share of an epoch"),
    ("overfit_batches", lambda v, _: v > 0, "Lightning would build the loaders anew; give debug=overfit"),
    ("fast_dev_run", lambda v, _: bool(v), "nothing would be kept, and no epoch be best; give debug=fast"),
    ("strategy", lambda v, _: str(v).startswith(("ddp_spawn", "ddp_fork", "ddp_notebook")), "give ddp"),
    ("sync_batchnorm", lambda v, device: v and device == "cpu", "torch has it for GPUs only; leave it out"),
    ("precision", lambda v, device: device == "cpu" and str(v) in ("16", "16-mixed"), "on a GPU only; give bf16-mixed"),
)


class Trainer(pytorch_lightning.Trainer):
    """As :class:`pytorch_lightning.Trainer`, where ``precision`` may be ``auto``.

    Args:
        precision: ``auto`` computes in bfloat16, with weights, sums and the optimizer in float32 (``bf16-mixed``),
            where the device multiplies bfloat16 itself, else in float32 (``32-true``).
        accelerator: as Lightning has it.
        settings: all other arguments of Lightning's Trainer. An InputError names one that makes no sense.
    """

    is_at_limit = False  # whether max_steps or max_time has ended the training

    def __init__(self, precision: Precision | None = "auto", accelerator: str = "auto", **settings: Any) -> None:
        device = _device_type(accelerator)
        if precision == "auto":
            precision = "bf16-mixed" if _multiplies_bfloat16(device) else "32-true"
        for name, least in _LEAST.items():
            if settings.get(name) is not None and settings[name] < least:
                raise InputError(f"trainer.{name}={settings[name]}: expected {least} or more")
        for name, is_refused, remedy in _REFUSED:
            value = precision if name == "precision" else settings.get(name)
            if value is not None and is_refused(value, device):
                raise InputError(f"trainer.{name}={value}: {remedy}")
        max_steps, max_time = settings.pop("max_steps", None), settings.pop("max_time", None)
        self.step_limit = -1 if max_steps is None else max_steps
        has_limits = self.step_limit != -1 or max_time is not None
        if settings.get("max_epochs", -1) is None and not has_limits:
            raise InputError("trainer.max_epochs=null: Lightning would take 1000; give the number, or -1 for no end")
        if settings.get("max_epochs") is None and has_limits:
            settings["max_epochs"] = -1
        settings["profiler"] = settings.get("profiler") or _NoProfiler()
        super().__init__(precision=precision, accelerator=accelerator, **settings)
        callbacks: list[Callback] = self.callbacks  # type: ignore[attr-defined]
        averaging = [type(callback).__name__ for callback in callbacks if isinstance(callback, WeightAveraging)]
        if len(averaging) > 1:
            raise InputError(f"callbacks: {' and '.join(averaging)} would each average the network; keep one")
        if any(isinstance(callback, StochasticWeightAveraging) for callback in callbacks):
            raise InputError("callbacks: Lightning's StochasticWeightAveraging sets the rate, too; give callbacks=swa")
        if any(isinstance(callback, GradientAccumulationScheduler) for callback in callbacks):
            raise InputError("callbacks: instead of GradientAccumulationScheduler give trainer.accumulate_grad_batches")
        if has_limits:
            callbacks.insert(0, Limits(self.step_limit, max_time))
        # Lightning asks every callback at every step, and calls only what is callable: hooks that do nothing are hidden
        # from it. Seven callbacks of which each has two of six hooks cost 0.1 ms a step, 10 % of an MLP's.
        for callback, hook in itertools.product(callbacks, _STEP_HOOKS):
            if not is_overridden(hook, callback, parent=Callback):
                setattr(callback, hook, None)

    @property
    def estimated_stepping_batches(self) -> int | float:
        """Optimizer steps of the whole run; infinite where it has no end."""
        steps = super().estimated_stepping_batches
        return steps if self.step_limit == -1 else min(steps, self.step_limit)

    # Asked 13 times a step, and each time 2 µs faster without Lightning's comparison of texts: 3 % of a step of an MLP.
    training = property(
        lambda self: self.state.stage is RunningStage.TRAINING,
        pytorch_lightning.Trainer.training.fset,  # type: ignore[attr-defined]
    )


def _device_type(accelerator: str) -> str:
    """``cuda``, ``cpu`` or another kind of device that ``trainer.accelerator`` stands for on this machine."""
    for kind, backend in (("cuda", torch.cuda), ("mps", torch.backends.mps)):
        if accelerator in ("auto", "gpu", kind) and backend.is_available():
            return kind
    return "cpu" if accelerator == "auto" else accelerator


def _multiplies_bfloat16(device: str) -> bool:
    """Whether the device has instructions for it: AVX512-BF16 or AMX on a processor, Ampere and later among GPUs;
    without them bfloat16 is emulated, which is slower than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # torch tells through these alone; a version without them counts as a processor without the instructions.
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device == "cpu" and any(getattr(torch.cpu, question, lambda: False)() for question in questions)


class _NoProfiler(PassThroughProfiler):
    """Measures nothing, without making a context for each of some 20 actions of a step: 4 µs each, 8 % of an MLP's."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[Any]:  # type: ignore[override]
        return self._nothing


# What Lightning asks every callback at every step.
_STEP_HOOKS = [name for name in vars(Callback) if "_batch_" in name or name.startswith(("on_before_", "on_after_"))]
