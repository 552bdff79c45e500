"""Testing a finished run: what scripts/evaluate.py opens."""

from omegaconf import DictConfig
from pytorch_lightning import LightningModule, Trainer, seed_everything

from imgclf.data.module import ImageData
from imgclf.errors import InputError
from imgclf.run.build import built, built_group, load_weights
from imgclf.run.freeze import thawed
from imgclf.run.processes import in_processes, is_first, speak
from imgclf.run_folder import RunFolder
from imgclf.summary import evaluation_table


def evaluate(config: DictConfig) -> int:
    """Test the checkpoint ``config.checkpoint`` of the run folder ``config.run``.

    Args:
        config: composed and checked; data and trainer are the run's own unless the command line changed them.

    Returns:
        The exit code.
    """
    if config.checkpoint not in ("best", "last"):
        raise InputError(f"checkpoint must be best or last, got {config.checkpoint!r}")
    return in_processes(config, evaluate_rank, config.checkpoint)


def evaluate_rank(config: DictConfig, checkpoint: str) -> int:
    """One process of an evaluation.

    Args:
        config: of scripts/evaluate.py.
        checkpoint: ``best`` or ``last``.

    Returns:
        The exit code.
    """
    speak(None)
    folder = RunFolder.existing(config.run)
    weights = folder.best if checkpoint == "best" else folder.last
    trained = thawed(folder)
    seed_everything(trained.seed, verbose=False)
    model: LightningModule = built(trained, "model")
    load_weights(model, weights)
    data: ImageData = built(config, "data")
    trainer: Trainer = built(
        config,
        "trainer",
        callbacks=built_group(config, "callbacks"),
        logger=False,
        default_root_dir=str(folder.path),
        enable_checkpointing=False,
    )
    trainer.test(model, datamodule=data, verbose=False)
    if is_first():
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        print(evaluation_table(metrics, weights))
    return 0
