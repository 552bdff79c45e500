"""Trainer settings that make no sense."""

from collections.abc import Mapping
from typing import Any

from imgclf.errors import InputError
from imgclf.run.devices import device_type, has_bfloat16

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
    if device == "cuda" and precision.startswith("bf16") and not has_bfloat16():
        raise InputError(f"trainer.precision={precision}: this GPU has it not; give 16-mixed, 32-true or auto")
