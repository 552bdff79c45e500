"""One training run from top to bottom: the folder, the processes, training, the test, the figures."""

import contextlib
import logging
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer, seed_everything

from imgclf import distributed, slurm
from imgclf.arguments import key_of, task_overrides
from imgclf.build import build, built_loggers, built_trainer, frozen, load_weights
from imgclf.callbacks.checkpoints import BestAndLast
from imgclf.callbacks.epoch_table import EpochTable
from imgclf.callbacks.monitor import Throughput
from imgclf.callbacks.reproducible import OneNetwork, StepSeed
from imgclf.callbacks.stop import StopOnDivergence, StopOnSignal
from imgclf.distributed import is_first
from imgclf.errors import Diverged, Failed, InputError, Interrupted, explanation, say
from imgclf.finetuning import init_from
from imgclf.log import speak
from imgclf.provenance import Record, now, provenance, verdict, warn_of_differences
from imgclf.resuming import decide, refuse_to_resume
from imgclf.run_folder import RunFolder, write_whole, written_aside
from imgclf.summary import training_table
from imgclf.tensorboard import close, settings_of, write_settings

log = logging.getLogger(__name__)


def train(config: DictConfig, *, fresh: bool = False) -> dict[str, Any] | None:
    """Start a run in ``config.folder``, or go on with ``config.resume``, or do ``config.rerun`` again and compare.

    Gives the contents of metrics.json; None in processes that do not speak for the run. ``fresh``: have a process of
    its own do it in any case. Raises InputError, Diverged, Interrupted or Failed: what it came to instead.
    """
    folder = RunFolder(config.folder)
    decide(config)
    if slurm.is_restarted() and folder.has_begun and "rerun" not in config:
        if "resume" not in config and folder.read_metrics() is not None:
            return folder.read_metrics()  # finished before the job was ended
        config.resume = str(folder.path)
    if not is_first():
        for signum in slurm.job_signals():  # outside of fit the first alone acts on them
            signal.signal(signum, signal.SIG_IGN)
        distributed.run(fit, config)
        return None
    try:
        with distributed.interruptible(), folder.lock(), _left_if_refused(folder):
            _begin(config, folder)
            with _outcome(folder):
                distributed.run(fit, config, fresh=fresh)
    except Interrupted as stop:
        if stop.signum in slurm.job_signals():
            slurm.queue_again(stop.signum)
        raise
    metrics = folder.read_metrics() or {}
    say(training_table(metrics, folder.path, on_board=any(folder.path.glob("events.out.tfevents.*"))), is_kept=True)
    first = folder.read_run().get("rerun_of")
    if first is not None:
        same, text = verdict(RunFolder.existing(first), folder)
        folder.write_run(reproduced=same)
        say(f"\n{text}", is_kept=True)
        if not same:
            raise Failed(f"{folder.path} did not come to the numbers of {first}")
    return metrics


def fit(config: DictConfig) -> None:
    """One process of a run: train, test the best epoch, write metrics.json."""
    folder, start = RunFolder(config.folder), time.perf_counter()
    speak(folder.log_file)
    before = folder.read_run()
    with contextlib.ExitStack() as at_end:
        at_end.push(lambda _, error, __: _keep_error(folder, error))  # last
        seed_everything(config.seed, verbose=False)
        last = folder.last if "resume" in config and folder.last.exists() else None
        data, model, callbacks = build(config, goes_on=last is not None)
        if last is not None:
            load_weights(model, last, to_go_on=True)
        elif config.get("init_from"):
            init_from(model, config.init_from, config.data)
        table, speed, record = EpochTable(folder), Throughput(), Record(folder, data, before, resuming=last is not None)
        checkpoint = next((c for c in callbacks if isinstance(c, BestAndLast)), None)
        stop = StopOnSignal(checkpoint)
        trainer = built_trainer(
            config,
            # Not for configurations to leave out. The first two, of an epoch's end, come before checkpoints.
            callbacks=[table, StopOnDivergence(), StepSeed(config.seed), record, speed, *callbacks, OneNetwork(), stop],
            logger=built_loggers(config, last, before.get("loggers") or {}),
            default_root_dir=str(folder.path),
            enable_checkpointing=True,  # by these callbacks, or by none
        )
        at_end.push(lambda kind, *_: close(trainer, kind))
        count = sum(p.numel() for p in model.parameters() if p.requires_grad)
        devices = f"{trainer.world_size} x {type(trainer.accelerator).__name__.removesuffix('Accelerator')}"
        name = getattr(model, "network_name", type(model).__name__)
        log.info(f"{name}, {count:,} parameters; {type(data).__name__}; {devices}; {folder.path}")
        if ids := write_settings(trainer, settings_of(config, folder), resumed=bool(before.get("loggers"))):
            folder.write_run(loggers=ids)
        diverged = None
        try:
            trainer.fit(model, datamodule=data, ckpt_path=last, weights_only=True)
        except Diverged as error:
            diverged = error
        stop.raise_if_stopped()
        metrics = _reached(trainer, table, speed, checkpoint)
        if diverged is None and "best_epoch" in metrics:
            load_weights(model, folder.best)
        if diverged is None and config.test and data.has_test_labels:
            trainer.test(model, datamodule=data, verbose=False)
            metrics = {name: float(value) for name, value in trainer.callback_metrics.items()} | metrics
        metrics["seconds"] = round(before.get("seconds", 0.0) + time.perf_counter() - start, 3)
        if is_first():
            folder.write_metrics(metrics)
        if diverged is not None:
            trainer.strategy.barrier()  # one that left at once would have the first ended before it has written
            raise diverged


def _begin(config: DictConfig, folder: RunFolder) -> None:
    """Take the folder for the run, and write down what it is."""
    for place in (folder.path, folder.config_file.parent, folder.checkpoints):
        for file in place.glob(".*.tmp"):  # what a killed process has left half written
            file.unlink(missing_ok=True)
    about = provenance()
    # Else a program of the user's own calls, or has composed another run since.
    by_hydra = HydraConfig.initialized() and folder.path.is_relative_to(HydraConfig.get().runtime.output_dir)
    typed = task_overrides() if by_hydra else []
    if "resume" in config:
        refuse_to_resume(config, folder)
        warn_of_differences(folder.read_run(), about, when="before")
        folder.metrics_file.unlink(missing_ok=True)  # the sign of a finished run, which it no longer is
        start: dict[str, Any] = {"resumed": [*folder.read_run().get("resumed", []), now()], "error": None}
        kept = [o for o in folder.read_overrides() if key_of(o) not in map(key_of, typed)]
        added = {key_of(o) for o in folder.read_overrides() if o[:1] == "+"}  # which conf/ does not have
        typed = [o for o in typed if key_of(o) not in ("resume", "trust")]
        typed = [*kept, *(f"+{o.lstrip('+')}" if key_of(o) in added and o[:1] != "~" else o for o in typed)]
    else:
        if (folder.path / "sweep.json").exists():
            raise InputError(f"{folder.path} is the folder of a sweep: choose another")
        if folder.has_begun:
            again = shlex.quote(f"resume={folder.path}")
            raise InputError(f"{folder.path} holds a run already: give {again}, or choose another")
        folder.run_file.unlink(missing_ok=True)  # of a start that came to nothing
        start = {"start": now()}
        if "rerun" in config:
            start["rerun_of"] = str(Path(config.rerun).absolute())
            typed = RunFolder(config.rerun).read_overrides()
    if config.get("sweep", {}).get("seeds", 1) > 1:  # one of the seeds, which nobody has typed
        typed = [o for o in typed if key_of(o) != "seed"] + [f"seed={config.seed}"]
    write_whole(folder.overrides_file, yaml.safe_dump(typed))
    folder.error_file.unlink(missing_ok=True)
    write_whole(folder.config_file, OmegaConf.to_yaml(OmegaConf.create(frozen(config))))
    folder.write_run(**about, **start, seed=config.seed, outcome="running")


@contextlib.contextmanager
def _left_if_refused(folder: RunFolder) -> Any:
    """Leave a run as it was, such as finished, where going on with it is refused before there is a new checkpoint."""
    files = (folder.config_file, folder.overrides_file, folder.run_file, folder.error_file, folder.metrics_file)
    texts = {file: file.read_bytes() for file in files if folder.has_begun and file.exists()}
    before = {file: file.stat().st_mtime_ns for file in folder.checkpoints.glob("*")}
    try:
        yield
    except Exception as error:
        after = {file: file.stat().st_mtime_ns for file in folder.checkpoints.glob("*")}
        if texts and after == before and not folder.metrics_file.exists() and explanation(error) is not None:
            folder.error_file.unlink(missing_ok=True)
            for file, text in texts.items():
                with written_aside(file) as aside:
                    aside.write_bytes(text)
        raise


@contextlib.contextmanager
def _outcome(folder: RunFolder) -> Any:
    """Have run.json say what became of the run, whichever of its processes knew."""
    before, start = folder.read_run(), time.perf_counter()
    outcome, error_text = "failed", None
    try:
        yield
        outcome = "finished"
    except Diverged as error:
        outcome, error_text = "diverged", str(error)
        raise
    except Interrupted as stop:
        outcome = "finished" if folder.metrics_file.exists() else "interrupted"
        if outcome == "interrupted":
            error_text = str(stop)
            folder.error_file.unlink(missing_ok=True)  # of processes that had lost their partner
            command = f"continue with: uv run scripts/train.py {shlex.quote(f'resume={folder.path}')}"
            log.warning(f"{stop}; {command if folder.last.exists() else 'there is no checkpoint to continue from'}")
        raise
    except BaseException as error:
        error_text = f"{type(error).__name__}: {error}"
        raise
    finally:
        with contextlib.suppress(OSError):  # such as a full disk, which may be the error itself
            seconds = round(before.get("seconds", 0.0) + time.perf_counter() - start, 3)
            folder.write_run(outcome=outcome, error=error_text, end=now(), seconds=seconds)


def _keep_error(folder: RunFolder, error: BaseException | None) -> None:
    if isinstance(error, Exception) and not isinstance(error, Diverged):
        with contextlib.suppress(OSError):
            folder.write_error(error, distributed.process_number())


def _reached(
    trainer: Trainer, table: EpochTable, throughput: Throughput, checkpoint: BestAndLast | None
) -> dict[str, Any]:
    """The figures of the last epoch, and which epoch was best, with its own."""
    # Not from the Trainer, which knows nothing of the epochs when a run is resumed that lacked only its test.
    metrics: dict[str, Any] = dict(sorted(table.metrics().items()))
    # An epoch that a limit or early stopping has cut off counts.
    begun = len(table.folder.read_table()) if trainer.should_stop else 0
    epochs = max(trainer.current_epoch, begun)
    metrics |= {"images_per_second": throughput.images_per_second, "epochs": epochs}
    if checkpoint is not None and checkpoint.best_epoch is not None:
        metrics["best_epoch"] = checkpoint.best_epoch
        # Of the epoch's validations the one that was best need not be the last.
        of_best = table.metrics(checkpoint.best_epoch) | checkpoint.best_metrics
        metrics |= {f"best/{name}": value for name, value in sorted(of_best.items())}
        if checkpoint.best_score is not None:
            metrics[f"best/{checkpoint.monitor}"] = checkpoint.best_score
    return metrics
