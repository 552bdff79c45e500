"""One place for what is said: the terminal, and train.log in the run folder."""

import logging
import sys
import warnings
from pathlib import Path

from imgclf.distributed import is_first

log = logging.getLogger("imgclf")


def log_to(file: Path | None, *, terminal: bool = True) -> None:
    """Send this package's log lines to the terminal and, added at its end, to a file.

    Args:
        file: None for the terminal alone.
        terminal: False leaves all but errors out there.
    """
    logger = logging.getLogger("imgclf")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    on_terminal = logging.StreamHandler(sys.stderr)
    on_terminal.setFormatter(logging.Formatter("%(message)s"))
    on_terminal.setLevel(logging.INFO if terminal else logging.ERROR)
    logger.addHandler(on_terminal)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def quieten() -> None:
    """Leave out what Lightning says of itself, and warnings that do not apply here."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Images lie in memory: another process would have to hand each batch over, which takes longer.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    # A run shorter than the logging interval is fine: figures are logged by epoch as well.
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    # With data.fit_on=train_valid nothing is validated, as asked for.
    warnings.filterwarnings("ignore", message=".*Total length of `list` across ranks is zero.*")
    # Lightning 2.6 calls a part of torch that newer torch is about to rename.
    warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated.*")
    # As TensorBoard does, when its logger is asked for the network's graph.
    warnings.filterwarnings("ignore", message=".*torch.jit.trace.*is deprecated.*")
    # Lightning 2.6 gathers what several processes have by a function that newer torch has by another name.
    warnings.filterwarnings("ignore", message=".*functional.all_gather is deprecated.*")
    # On a machine with SLURM a run without it is as good as on any other.
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")


def speak(file: Path | None) -> None:
    """Let the first process log to the terminal and to ``file``; the others keep quiet but for errors."""
    log_to(file if is_first() else None, terminal=is_first())
    quieten()
    for name in ("pytorch_lightning.profilers", "pytorch_lightning.callbacks.model_summary"):  # asked for
        asked = logging.getLogger(name)
        asked.handlers, asked.propagate = list(log.handlers), False
        asked.setLevel(logging.INFO)
