"""Whether images, configuration and Trainer fit each other, now that the images are read."""

import math
import os
from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Trainer

from imgclf.data.batches import ImageArray
from imgclf.errors import InputError


def require_ranges(given: Mapping[str, Any]) -> None:
    """Refuse values of the arguments of :class:`ImageData` that make no sense."""
    for name in ("batch_size", "eval_batch_size", "resize", "in_channels", "num_classes"):
        if given[name] < 1:
            raise InputError(f"data.{name} must be at least 1, got {given[name]}")
    workers, most = given["num_workers"], max(64, 8 * (os.cpu_count() or 1))
    if not 0 <= workers <= most:
        raise InputError(f"data.num_workers must lie in 0 to {most} here, got {workers}; 0 is fastest")
    if given["resident"] is True and workers > 0:
        raise InputError(
            f"data.resident=true and data.num_workers={workers}: workers cannot reach images in a GPU's memory, set "
            "data.num_workers=0"
        )
    if not 0 < given["val_fraction"] < 1:
        raise InputError(f"data.val_fraction must lie in (0, 1), got {given['val_fraction']}")
    mean, std = given["mean"] or [], given["std"] or []
    if len(mean) != len(std) or not all(map(math.isfinite, (*mean, *std))) or min(std, default=1) <= 0:
        raise InputError(f"data.mean={mean} and data.std={std} must have one finite entry a channel, std above 0")
    for name, choices in (("mix", ("none", "mixup", "cutmix")), ("fit_on", ("train", "train_valid"))):
        if given[name] not in choices:
            raise InputError(f"data.{name} must be one of {', '.join(choices)}, got {given[name]!r}")


def require_images(data: Any, images: ImageArray) -> None:
    """Refuse images that do not fit what the configuration says of them."""
    channels = images.images.shape[1]
    if data.mean is not None and len(data.mean) != channels:
        raise InputError(
            f"data.mean and data.std have {len(data.mean)} entries, the images {channels} channel(s): give one each"
        )
    if data.in_channels != channels and (data.in_channels, channels) != (3, 1):
        more = ", or 3 to have the grey channel repeated" if channels == 1 else ""
        raise InputError(
            f"data.in_channels={data.in_channels}, but the images have {channels} channel(s): "
            f"give data.in_channels={channels}{more}"
        )
    largest = int(images.labels.max())
    if largest >= data.num_classes:
        raise InputError(
            f"data.num_classes={data.num_classes}, but there is a label {largest}: "
            f"give data.num_classes={largest + 1} or more"
        )
    names = getattr(data, "class_names", None)  # a data set of a user's own may have none
    if names is not None and len(names) != data.num_classes:
        raise InputError(
            f"data.num_classes={data.num_classes}, but the data set names {len(names)} classes: "
            f"give data.num_classes={len(names)}"
        )


def require_batches(trainer: Trainer | None, stage: str, count: int) -> None:
    """Refuse what Lightning would answer with a traceback, now that the number of batches is known."""
    if trainer is None:
        return
    # Private, as all that says so; Lightning would build the loaders anew, with samplers of its own.
    if trainer.world_size > 1 and trainer._accelerator_connector.use_distributed_sampler:
        raise InputError("trainer.use_distributed_sampler=true: the data share the images out themselves; give false")
    limit = getattr(trainer, f"limit_{stage}_batches")
    taken = min(count, limit) if isinstance(limit, int) else int(count * limit)
    if taken == 0 < limit:
        raise InputError(f"trainer.limit_{stage}_batches={limit} of {count} batch(es) is none: give a whole number")
    every = trainer.val_check_interval
    if stage == "train" and type(every) is int and every > taken and trainer.check_val_every_n_epoch:
        raise InputError(
            f"trainer.val_check_interval={every}, but an epoch has {taken} batches: give at most {taken}, or count "
            "on over epochs with trainer.check_val_every_n_epoch=null"
        )
