"""What run.json says of a run once its devices are chosen and its images are read."""

import logging
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from imgclf.data.module import ImageData
from imgclf.errors import InputError
from imgclf.ranks import is_first
from imgclf.run.machine import machine
from imgclf.run.reruns import provenance_differences
from imgclf.run_folder import RunFolder

log = logging.getLogger(__name__)


class Record(Callback):
    """Write machine, precision and fingerprints of the data into run.json before the first step.

    Args:
        folder: of the run.
        data: of the run.
        before: contents of run.json when the run was begun, where this one continues it, or of the run that is done
            again; empty for neither.
        resuming: whether this is the same run.
    """

    def __init__(self, folder: RunFolder, data: ImageData, before: dict[str, Any], *, resuming: bool) -> None:
        self.folder = folder
        self.data = data
        self.before = before
        self.resuming = resuming
        self.data.fingerprints = {} if is_first() else None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare and write.

        Raises:
            InputError: the run is resumed with other images than it was begun with.
        """
        if not is_first():
            return
        found = {
            **machine(trainer),
            "train_images": len(self.data.train_set),
            "precision": str(trainer.precision),
            "channels_last": getattr(pl_module, "memory_format", None) is torch.channels_last,
            "data": dict(self.data.fingerprints or {}),
        }
        if self.resuming:
            self._refuse_other_images(found["data"])
            found["data"] = (self.before.get("data") or {}) | found["data"]
        differences = provenance_differences(self.before, self.folder.read_run() | found)
        if differences:
            lines = "".join(f"\n  {line}" for line in differences)
            when = "before" if self.resuming else "the first time"
            log.warning(f"not as {when}, so numbers may differ:{lines}")
        self.folder.write_run(**found)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if is_first():
            self.folder.write_run(data=(self.folder.read_run().get("data") or {}) | (self.data.fingerprints or {}))

    def _refuse_other_images(self, found: dict[str, Any]) -> None:
        earlier = self.before.get("data") or {}
        for part, now in found.items():
            then = earlier.get(part)
            if isinstance(then, dict) and any(key in then and then[key] != now[key] for key in ("images", "digest")):
                raise InputError(
                    f"resume={self.folder.path} continues the run on the images that it began with, but the {part} "
                    f"images have changed since: {then} then, {now} now. Put the old ones back, or start a new run"
                )
