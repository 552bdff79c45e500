"""A finished run's network, for evaluation and prediction."""

from omegaconf import DictConfig
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything

from imgclf.config.trust import trusted_config
from imgclf.data.module import ImageData
from imgclf.errors import InputError
from imgclf.ranks import is_first
from imgclf.run.agreement import require_same_form, warn_of_other_pixels
from imgclf.run.build import built, built_group, built_trainer, load_weights
from imgclf.run.freeze import thawed
from imgclf.run.weights import weights_file
from imgclf.run_folder import RunFolder


def trained_model(config: DictConfig) -> LightningModule:
    """The network as the run configured it, with the weights of the chosen checkpoint."""
    folder = RunFolder.existing(config.run)
    trusted_config(folder, config.trust)
    run = thawed(folder)
    seed_everything(run.seed, verbose=False)
    try:
        model: LightningModule = built(run, "model")
    except InputError as error:
        raise InputError(
            f"{folder.config_file}: {error}. Is it of another version of this program? Use that one, or train again"
        ) from error
    load_weights(model, weights_file(config))
    return model


def data_for(model: LightningModule, config: DictConfig) -> ImageData:
    """The images of ``config.data``, the run's own or others, which must be of the form that the network takes.

    Raises:
        InputError: they are not.
    """
    data: ImageData = built(config, "data")
    require_same_form(model, data)
    if is_first():
        warn_of_other_pixels(thawed(RunFolder.existing(config.run)), config)
    return data


def bare_trainer(config: DictConfig, *callbacks: Callback) -> Trainer:
    """A Trainer that writes nothing."""
    return built_trainer(
        config,
        callbacks=[*built_group(config, "callbacks"), *callbacks],
        logger=False,
        default_root_dir=str(config.run),
        enable_checkpointing=False,
    )
