"""One process of a training run."""

import contextlib
import logging
import signal
import time
from typing import Any

from omegaconf import DictConfig
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything

from imgclf import scheduler
from imgclf.callbacks.checkpoints import BestAndLast
from imgclf.callbacks.divergence import Diverged, StopOnDivergence
from imgclf.callbacks.epoch_table import EpochTable
from imgclf.callbacks.interrupt import StopOnSignal
from imgclf.callbacks.one_network import OneNetwork
from imgclf.callbacks.step_seed import StepSeed
from imgclf.callbacks.throughput import Throughput
from imgclf.data.module import ImageData
from imgclf.errors import USER_ERROR, InputError, tell
from imgclf.interruption import Interrupted, interruptible
from imgclf.provenance import now, provenance
from imgclf.run.agreement import require_same_form, require_sensible_callbacks
from imgclf.run.build import (
    built,
    built_group,
    built_loggers,
    built_trainer,
    load_weights,
    require_resumable,
    try_optimizer,
)
from imgclf.run.hparams import close, settings_of, write_row
from imgclf.run.processes import is_first, process_number, speak
from imgclf.run.record import Record
from imgclf.run_folder import RunFolder
from imgclf.summary import training_table

log = logging.getLogger(__name__)


def train_rank(config: DictConfig, how: str) -> int:
    """One process of a run.

    Args:
        config: of a whole run, resolved.
        how: ``start`` or ``resume``.

    Returns:
        The exit code: 0, 128 + the number of the signal that stopped it, or 2 where the loss is no number any more.
    """
    folder = RunFolder(config.folder)
    speak(folder.log_file)
    earlier = folder.read_run() if is_first() else {}
    begin = time.perf_counter()
    if is_first():
        start = {"start": now()} if how == "start" else {"resumed": [*earlier.get("resumed", []), now()]}
        folder.write_run(**provenance(), **start, seed=config.seed, outcome="running")
    outcome = {"outcome": "failed"}
    try:
        with interruptible(*scheduler.signals()):
            first = earlier.get("rerun_of")
            before = earlier if how == "resume" else RunFolder(first).read_run() if first else {}
            metrics = fit_and_test(config, folder, resume=how == "resume", before=before)
        metrics["seconds"] = round(earlier.get("seconds", 0.0) + time.perf_counter() - begin, 3)
        if is_first():
            folder.write_metrics(metrics)
            print(training_table(metrics, folder.path, on_board=bool(folder.events())))
        outcome = {"outcome": "finished"}
        return 0
    except Diverged as end:
        # Not failed: the same settings would come to the same end again, and a sweep has a row for it.
        outcome = {"outcome": "diverged", "error": str(end)}
        end.metrics["seconds"] = round(earlier.get("seconds", 0.0) + time.perf_counter() - begin, 3)
        if not is_first():
            return USER_ERROR
        folder.write_metrics(end.metrics)
        return tell(InputError(f"{end}\nrun folder: {folder.path}"))
    except (Interrupted, KeyboardInterrupt) as stopped:
        # The latter in the last moment, when results are being written and signals do again what Python has them do.
        stop = stopped if isinstance(stopped, Interrupted) else Interrupted(signal.SIGINT)
        if folder.metrics_file.exists():
            outcome = {"outcome": "finished"}
            return 128 + stop.signum
        outcome = {"outcome": "interrupted", "error": str(stop)}
        log.warning(f"{stop}; continue with: uv run scripts/train.py resume={folder.path}")
        return 128 + stop.signum
    except BaseException as error:
        outcome["error"] = f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError):  # such as a full disk, which may be the error itself
            folder.write_error(error, process_number())
        raise
    finally:
        if is_first():
            seconds = round(earlier.get("seconds", 0.0) + time.perf_counter() - begin, 3)
            with contextlib.suppress(OSError):
                folder.write_run(**{"error": None} | outcome, end=now(), seconds=seconds)


def fit_and_test(
    config: DictConfig, folder: RunFolder, *, resume: bool, before: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Train, then test the best epoch.

    Args:
        config: of a whole run, resolved.
        folder: where its files go.
        resume: continue from ``checkpoints/last.ckpt``; a run that was stopped before its first starts anew.
        before: contents of run.json that this run should match: its own of the start, or that of the run done again.

    Returns:
        What metrics.json holds, but for the seconds.

    Raises:
        InputError: something in the configuration or the data cannot be used.
        Diverged: the loss is no number any more.
    """
    last = folder.last if resume and folder.last.exists() else None
    seed_everything(config.seed, verbose=False)
    data: ImageData = built(config, "data")
    model: LightningModule = built(config, "model", optimizer=built(config, "optimizer"))
    try_optimizer(config, model)
    require_same_form(model, data)
    require_sensible_callbacks(config, model)
    if last is not None and last.is_file():  # some strategies keep a folder
        require_resumable(model, last)
    throughput, table = Throughput(), EpochTable(folder.table_file)
    record = Record(folder, data, before or {}, resuming=resume)
    chosen: list[Callback] = [built(config, "schedule"), *built_group(config, "callbacks")]
    checkpoint = next((c for c in chosen if isinstance(c, BestAndLast)), None)
    stop = StopOnSignal(checkpoint, scheduler.signals())
    trainer = built_trainer(
        config,
        # Seeds, rates, the table and stopping on a signal are what the run folder and resuming promise;
        # they are not for configurations to leave out.
        callbacks=[StepSeed(config.seed), record, throughput, table, *chosen, OneNetwork(), StopOnDivergence(), stop],
        logger=built_loggers(config, last),
        default_root_dir=str(folder.path),
        enable_checkpointing=checkpoint is not None,
    )
    _describe(model, data, trainer, folder)
    write_row(trainer, settings_of(config, folder))
    try:
        trainer.fit(model, datamodule=data, ckpt_path=last, weights_only=True)
    except Diverged as end:
        end.metrics = _reached(trainer, table, throughput, checkpoint)
        close(trainer)
        raise
    stop.raise_if_stopped()
    metrics = _reached(trainer, table, throughput, checkpoint)
    if "best_epoch" in metrics:
        load_weights(model, folder.best)
    if config.test and data.has_test_labels:
        trainer.test(model, datamodule=data, verbose=False)
        metrics |= {name: float(value) for name, value in trainer.callback_metrics.items() if "test/" in name}
    close(trainer)
    return metrics


def _reached(
    trainer: Trainer, table: EpochTable, throughput: Throughput, checkpoint: BestAndLast | None
) -> dict[str, Any]:
    """The figures of the last epoch, and which epoch was best, with its own."""
    # Not from the Trainer, which knows nothing of the epochs when a run is resumed that lacked only its test.
    metrics: dict[str, Any] = dict(sorted(table.metrics().items()))
    metrics |= {"images_per_second": throughput.images_per_second, "epochs": trainer.current_epoch}
    if checkpoint is not None and checkpoint.best_epoch is not None:
        metrics["best_epoch"] = checkpoint.best_epoch
        of_best = sorted(table.metrics(checkpoint.best_epoch).items())
        metrics |= {f"best/{name}": value for name, value in of_best}
        if checkpoint.best_score is not None:
            metrics[f"best/{checkpoint.monitor}"] = checkpoint.best_score
    return metrics


def _describe(model: LightningModule, data: ImageData, trainer: Trainer, folder: RunFolder) -> None:
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    kind = type(trainer.accelerator).__name__.removesuffix("Accelerator")
    what = f"{type(model).__name__}, {count:,} parameters; {type(data).__name__}; {trainer.world_size} x {kind}"
    log.info(f"{what}; {folder.path}")
