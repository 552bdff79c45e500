"""One training run: what scripts/train.py opens.

Torch is loaded by the module of the training, in the processes that train: one that starts them has no need of it.
"""

import importlib
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from imgclf import ranks, scheduler
from imgclf.config.command_line import hydra_overrides, task_overrides
from imgclf.config.trust import targets, trusted_config
from imgclf.errors import BROKEN, USER_ERROR, InputError, is_mendable
from imgclf.holding import held
from imgclf.interruption import STOPPING, Interrupted
from imgclf.run.freeze import frozen, resolved, thawed
from imgclf.run.processes import in_processes, is_first, runs_here, speak
from imgclf.run.reruns import verdict
from imgclf.run_folder import RunFolder

_TRAINING = "imgclf.run.training"


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
    if resuming and is_first():
        _refuse_to_resume(folder, config)  # at once, and again when the folder is held
    if runs_here(config.trainer):
        importlib.import_module(_TRAINING)  # takes seconds, in which a Ctrl-C is to leave nothing behind
    if is_first():
        folder.path.mkdir(parents=True, exist_ok=True)
        with held(folder.path, "a run"):
            code = _begin(folder, config, resuming)
            if code - 128 in (*STOPPING, *scheduler.signals()):
                _note_stop(folder, code - 128)
            elif not code:
                code = _compare_with_first(folder)
    else:
        code = _train(config, resuming)
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
        code = _train(thawed(folder), resuming)
    except Exception as error:
        code = USER_ERROR if is_mendable(error) else BROKEN
        raise
    finally:
        # A sweep reports on jobs that failed, and runs them again.
        if code == USER_ERROR and _course(folder) == course and HydraConfig.get().mode != RunMode.MULTIRUN:
            folder.put_back(before)
    return code


def _train(config: DictConfig, resuming: bool) -> int:
    return in_processes(config, f"{_TRAINING}:train_rank", "resume" if resuming else "start")


def _course(folder: RunFolder) -> list[tuple[int, int] | None]:
    """What changes with training."""
    found = []
    for file in (folder.table_file, folder.last, folder.best):
        status = file.stat() if file.exists() else None
        found.append((status.st_size, status.st_mtime_ns) if status else None)
    return found


def _prepare(folder: RunFolder, config: DictConfig, resuming: bool) -> None:
    if resuming:
        _refuse_to_resume(folder, config)
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
        given = RunFolder(config.rerun).read_overrides() if again else task_overrides(HydraConfig.get())
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


def _refuse_to_resume(folder: RunFolder, config: DictConfig) -> None:
    _refuse_a_finished_run(folder, config)
    _refuse_another_run(folder, config)
    _refuse_a_lost_checkpoint(folder)


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
    named = any(override.startswith("hydra.run.dir=") for override in hydra_overrides(HydraConfig.get()))
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
