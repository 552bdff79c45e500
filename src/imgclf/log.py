"""One place for what is said: the terminal, and train.log in the run folder."""

import logging
import sys
import warnings
from pathlib import Path

from imgclf.distributed import is_first

log = logging.getLogger("imgclf")

# Warnings that do not apply here.
_IGNORED = (
    "GPU available but not used",  # as trainer=cpu asks for
    "does not have many workers",  # images lie in memory: another process would have to hand each batch over
    "is smaller than the logging interval",  # a short run is fine: figures are logged by epoch as well
    "Total length of `list` across ranks is zero",  # with data.fit_on=train_valid nothing is validated, as asked for
    "LeafSpec.*is deprecated",  # Lightning 2.6 calls parts of torch that newer torch is about to rename
    "functional.all_gather is deprecated",
    "torch.jit.trace.*is deprecated",  # as TensorBoard does, when its logger is asked for the network's graph
    "No positive samples in targets",  # such classes are left out, see models/metrics.py
    "`srun` command is available",  # on a machine with SLURM a run without it is as good as on any other
)


def speak(file: Path | None) -> None:
    """Send this package's log lines to the terminal and, added at its end, to a file; None for the terminal alone.

    In all processes but the first errors alone, and nothing to the file.
    """
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
    on_terminal = logging.StreamHandler(sys.stderr)
    on_terminal.setLevel(logging.INFO if is_first() else logging.ERROR)
    log.addHandler(on_terminal)
    if file is not None and is_first():
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    for message in _IGNORED:
        warnings.filterwarnings("ignore", message=f".*{message}.*")
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)  # what Lightning says of itself
    for name in ("pytorch_lightning.profilers", "pytorch_lightning.callbacks.model_summary"):  # asked for
        asked = logging.getLogger(name)
        asked.handlers, asked.propagate = list(log.handlers), False
        asked.setLevel(logging.INFO)
