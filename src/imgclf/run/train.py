"""One training run: what scripts/train.py opens."""

import contextlib
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything

from imgclf import ranks, scheduler
from imgclf.callbacks.checkpoints import BestAndLast
from imgclf.callbacks.divergence import Diverged, StopOnDivergence
from imgclf.callbacks.epoch_table import EpochTable
from imgclf.callbacks.interrupt import StopOnSignal
from imgclf.callbacks.one_network import OneNetwork
from imgclf.callbacks.step_seed import StepSeed
from imgclf.callbacks.throughput import Throughput
from imgclf.config.trust import targets, trusted_config
from imgclf.data.module import ImageData
from imgclf.errors import BROKEN, USER_ERROR, InputError, is_mendable, tell
from imgclf.holding import held
from imgclf.interruption import STOPPING, Interrupted, interruptible
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
from imgclf.run.freeze import frozen, resolved, thawed
from imgclf.run.hparams import close, settings_of, write_row
from imgclf.run.processes import in_processes, is_first, process_number, speak
from imgclf.run.record import Record
from imgclf.run.reruns import verdict
from imgclf.run_folder import RunFolder
from imgclf.summary import training_table

log = logging.getLogger(__name__)


def train(config: DictConfig) -> int:
    """Start a run in ``config.folder``, or continue the one that ``config.resume`` names.

    With ``config.rerun`` it is that run done again, and compared with it at the end.

    Args:
        config: composed and checked.

    Returns:
        The exit code.
    """
    folder = RunFolder(config.folder)
    resuming = "resume" in config
    if config.retrain_on_all:
        config.data.fit_on = "train_valid"
    if ranks.started_from_outside():
        _require_one_folder_for_all(resuming)
    if not resuming and scheduler.is_restart_of(folder.read_run):
        if folder.read_metrics() is not None:
            return 0  # the job had done its work, and lost its machine only afterwards
        if folder.config_file.exists():
            trusted_config(folder, set(targets(resolved(config))))
            config, resuming = thawed(folder), True
        elif is_first():
            folder.run_file.unlink()  # stopped in the moment between the two
    if is_first():
        folder.path.mkdir(parents=True, exist_ok=True)
        with held(folder.path, "a run"):
            code = _begin(folder, config, resuming)
            if code - 128 in (*STOPPING, *scheduler.signals()):
                _note_stop(folder, code - 128)
            elif not code:
                code = _compare_with_first(folder)
    else:
        code = train_rank(config, "resume" if resuming else "start")
    if code - 128 in scheduler.signals():
        speak(folder.log_file)
        scheduler.queue_again(code - 128, first=is_first())
    return code


def _begin(folder: RunFolder, config: DictConfig, resuming: bool) -> int:
    """Run it, and leave the folder as it was where the run is refused for what the user can mend, untrained."""
    before, course = folder.kept(), _course(folder)
    _prepare(folder, config, resuming)
    code = BROKEN
    try:
        code = in_processes(thawed(folder), train_rank, "resume" if resuming else "start")
    except Exception as error:
        code = USER_ERROR if is_mendable(error) else BROKEN
        raise
    finally:
        # A sweep reports on jobs that failed, and runs them again.
        if code == USER_ERROR and _course(folder) == course and HydraConfig.get().mode != RunMode.MULTIRUN:
            folder.put_back(before)
    return code


def _course(folder: RunFolder) -> list[tuple[int, int] | None]:
    """What changes with training."""
    found = []
    for file in (folder.table_file, folder.last, folder.best):
        status = file.stat() if file.exists() else None
        found.append((status.st_size, status.st_mtime_ns) if status else None)
    return found


def _prepare(folder: RunFolder, config: DictConfig, resuming: bool) -> None:
    if resuming:
        _refuse_a_finished_run(folder, config)
        _refuse_another_run(folder, config)
        _refuse_a_lost_checkpoint(folder)
        folder.tidy()
        folder.metrics_file.unlink(missing_ok=True)  # the sign of a finished run, which it no longer is
        folder.error_file.unlink(missing_ok=True)
    else:
        folder.tidy()
        if folder.run_file.exists() and not folder.config_file.exists():
            folder.run_file.unlink()  # a run killed in the moment between the two: nobody else holds the folder
        again = {"rerun_of": str(Path(config.rerun).absolute())} if "rerun" in config else {}
        folder.claim(**scheduler.identity(), **again)
        hydra_config = HydraConfig.instance().cfg
        given = RunFolder(config.rerun).read_overrides() if again else list(HydraConfig.get().overrides.task)
        folder.write_hydra(given, OmegaConf.to_yaml(hydra_config))
    folder.write_config(frozen(config))


def _note_stop(folder: RunFolder, signum: int) -> None:
    """Have run.json say so where a signal came to one of several processes alone, or before the first could."""
    why = str(Interrupted(signum))
    if folder.note_stop(why) and not folder.metrics_file.exists():
        folder.error_file.unlink(missing_ok=True)  # of the others, which had lost their partner
        print(f"{why}; continue with: uv run scripts/train.py resume={folder.path}", file=sys.stderr)


def _compare_with_first(folder: RunFolder) -> int:
    """Where the finished run is one done again, say what came of it; the exit code is 1 for other numbers."""
    first = folder.read_run().get("rerun_of")
    if first is None:
        return 0
    same, text = verdict(RunFolder.existing(first), folder)
    folder.write_run(reproduced=same)
    print(f"\n{text}")
    return 0 if same else 1


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
            print(training_table(metrics, folder.path))
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
    """The figures of the last epoch, and which epoch was best."""
    # Not from the Trainer, which knows nothing of the epochs when a run is resumed that lacked only its test.
    metrics: dict[str, Any] = dict(sorted(table.last_metrics().items()))
    metrics |= {"images_per_second": throughput.images_per_second, "epochs": trainer.current_epoch}
    if checkpoint is not None and checkpoint.best_epoch is not None:
        metrics["best_epoch"] = checkpoint.best_epoch
        if checkpoint.best_score is not None:
            metrics[f"best/{checkpoint.monitor}"] = checkpoint.best_score
    return metrics


def _refuse_a_finished_run(folder: RunFolder, config: DictConfig) -> None:
    metrics = folder.read_metrics()
    if metrics is None or folder.read_run().get("outcome") == "diverged":
        return
    # Fewer epochs than it was to have: early stopping has ended it.
    as_before = config.trainer.max_epochs == thawed(folder).trainer.max_epochs
    if as_before or metrics.get("epochs", 0) >= config.trainer.max_epochs >= 0:
        raise InputError(
            f"{folder.path} is finished after {metrics['epochs']} epochs, nothing is left to resume; "
            "to train it further add trainer.max_epochs=MORE"
        )


def _require_one_folder_for_all(resuming: bool) -> None:
    """Processes that torchrun or SLURM has started compose a configuration each, with a time of their own in it."""
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return  # the sweep says which
    named = any(override.startswith("hydra.run.dir=") for override in HydraConfig.get().overrides.hydra)
    if not (named or resuming):
        raise InputError(
            "several processes were started from outside, by torchrun or SLURM, and each would make a folder of its "
            "own: add hydra.run.dir=FOLDER"
        )


def _refuse_another_run(folder: RunFolder, config: DictConfig) -> None:
    """What decides the numbers stays; how long and where to train, what to log and when to save may change."""
    before, now = thawed(folder), OmegaConf.to_container(config, resolve=True)
    assert isinstance(now, dict)
    for key in ("seed", "data", "model", "optimizer", "schedule"):
        if OmegaConf.to_container(before, resolve=True)[key] != now[key]:  # type: ignore[index,call-overload]
            raise InputError(
                f"resume={folder.path} continues the run as it was configured, but {key} was changed: leave that out, "
                "or start a new run"
            )


def _refuse_a_lost_checkpoint(folder: RunFolder) -> None:
    """Begun anew, the run would overwrite what is left of it."""
    if folder.best.exists() and not folder.last.exists() and not any(folder.checkpoints.glob(".*.tmp")):
        raise InputError(
            f"there is no {folder.last} to continue from, though the run has got to a best epoch: restore it, or start "
            "a new run"
        )


def _describe(model: LightningModule, data: ImageData, trainer: Trainer, folder: RunFolder) -> None:
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    kind = type(trainer.accelerator).__name__.removesuffix("Accelerator")
    what = f"{type(model).__name__}, {count:,} parameters; {type(data).__name__}; {trainer.world_size} x {kind}"
    log.info(f"{what}; {folder.path}")
