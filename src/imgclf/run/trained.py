"""A finished run's network, for evaluation and prediction."""

from pathlib import Path

from omegaconf import DictConfig
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything

from imgclf.config.trust import trusted_config
from imgclf.errors import InputError
from imgclf.run.build import built, built_group, built_trainer, load_weights
from imgclf.run.freeze import thawed
from imgclf.run_folder import RunFolder


def weights_file(config: DictConfig) -> Path:
    """The checkpoint that ``config.run`` and ``config.checkpoint`` (best or last) name.

    Raises:
        InputError: it is neither, or ``config.run`` is no run folder.
    """
    folder = RunFolder.existing(config.run)
    files = {"best": folder.best, "last": folder.last}
    if config.checkpoint not in files:
        raise InputError(f"checkpoint must be best or last, got {config.checkpoint!r}")
    return files[config.checkpoint]


def trained_model(config: DictConfig) -> LightningModule:
    """The network as the run configured it, with the weights of the chosen checkpoint."""
    folder = RunFolder.existing(config.run)
    trusted_config(folder, config.trust)
    run = thawed(folder)
    seed_everything(run.seed, verbose=False)
    model: LightningModule = built(run, "model")
    load_weights(model, weights_file(config))
    return model


def bare_trainer(config: DictConfig, *callbacks: Callback) -> Trainer:
    """A Trainer that writes nothing."""
    return built_trainer(
        config,
        callbacks=[*built_group(config, "callbacks"), *callbacks],
        logger=False,
        default_root_dir=str(config.run),
        enable_checkpointing=False,
    )
